// An Express application that says which of its routes a request reached, by Express' own reading of the path.
// The port is the first argument; prints "ready" when it listens.

import express from 'express';

const app = express();
app.use((request, response, next) => {
  response.set('X-Seen', Buffer.from(request.path).toString('hex'));
  next();
});
const reached = (name) => (_request, response) => response.type('text').send(`reached ${name}`);

app.all('/login', reached('login'));
app.all('/login/password', reached('login'));
app.all('/api/token', reached('token'));
app.use('/admin', reached('admin'));
app.use((_request, response) => response.type('text').send('plain'));
// A path that cannot be decoded ends here.
app.use((_error, _request, response, _next) => response.status(400).type('text').send('undecodable'));

app.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
