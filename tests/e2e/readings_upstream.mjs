// Express and Fastify, each as leniently as it can be set up, that say which of their routes a request reached and by which method.
// Arguments: the kind, the port. Prints "ready" when it listens.

import express from 'express';
import Fastify from 'fastify';
import methodOverride from 'method-override';

const [kind, port] = process.argv.slice(2);
const pages = { login: '/login', reset: '/login/reset', report: '/reports/:name', root: '/' };

if (kind === 'express') {
  const app = express();
  app.use(express.urlencoded({ extended: true }));
  app.use(methodOverride('X-HTTP-Method-Override', { methods: null }));
  app.use(methodOverride('X-HTTP-Method', { methods: null }));
  app.use(methodOverride('X-Method-Override', { methods: null }));
  app.use(methodOverride('_method', { methods: null }));
  app.use(methodOverride((request) => request.body?._method?.toString(), { methods: null }));
  for (const [name, path] of Object.entries(pages)) {
    app.all(path, (request, response) => response.type('text').send(`${name} ${request.method}`));
  }
  app.use('/admin', (request, response) => response.type('text').send(`admin ${request.method}`));
  app.use((_error, _request, response, _next) => response.status(400).type('text').send('undecodable'));
  app.listen(Number(port), '127.0.0.1', () => console.log('ready'));
} else {
  const app = Fastify({
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false, useSemicolonDelimiter: true },
  });
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  for (const [name, path] of Object.entries({ ...pages, admin: '/admin', 'admin ': '/admin/*' })) {
    app.all(path, async (request) => `${name.trim()} ${request.method}`);
  }
  await app.listen({ port: Number(port), host: '127.0.0.1' });
  console.log('ready');
}
