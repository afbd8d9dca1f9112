// The application of tests/servers, on Express: it says what reached it, in Express' own reading. The port is the first argument.

import { appendFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import express from 'express';

const files = process.env.VISITED_FILES;
const app = express();
app.disable('x-powered-by');
app.use(express.raw({ type: () => true, limit: '10mb' }));

const isForm = (request) => ['', 'application/x-www-form-urlencoded'].includes((request.get('Content-Type') || '').split(';')[0].trim().toLowerCase());

// As the middleware method-override has it.
app.use((request, _response, next) => {
  if (request.method === 'POST') {
    const body = Buffer.isBuffer(request.body) ? request.body.toString('latin1') : '';
    const asked = request.get('X-HTTP-Method-Override') || request.query._method || (isForm(request) && new URLSearchParams(body).get('_method'));
    if (asked) request.method = String(asked).toUpperCase();
  }
  next();
});

const told = (route) => (request, response) => {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const path = request.baseUrl + request.path;
  let name = route;
  if (route === 'token') name = (body.toString('latin1') + request.url).includes('grant_type=password') ? 'token' : 'refresh';
  if (['admin', 'login', 'token', 'records'].includes(name)) {
    appendFileSync(process.env.VISITED_REACHED, `${name} ${request.method} ${JSON.stringify(path)}\n`);
  }
  const pairs = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) pairs.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
  const seen = Buffer.from(pairs.join('\n'), 'latin1').toString('hex');
  const text = `route=${name}\nmethod=${request.method}\nuri=${path}\nseen=${seen}\nbody=${body.subarray(0, 500).toString('hex')}\n`;
  response.type('text/plain').send(text);
};

app.all('/login', told('login'));
for (const name of ['index', 'login', 'password']) app.all(`/login/${name}`, told('login'));
app.all('/signin', told('login'));
app.all('/api/token', told('token'));
app.use('/admin', told('admin'));
for (const method of ['put', 'patch', 'delete']) app[method]('/records/*rest', told('records'));
for (const name of ['pay', 'large']) app.get(`/assets/${name}`, (_request, response) => response.sendFile(`${files}/${name}`));
app.get('/assets/cached', (_request, response) => response.set('ETag', '"1"').type('text/plain').send('cached'));
app.get('/assets/empty', (_request, response) => response.status(204).end('not empty'));
app.get('/assets/kept', (_request, response) => response.status(304).end('not empty'));
app.use(told('plain'));
app.use((_error, _request, response, _next) => response.status(400).type('text/plain').send('undecodable'));

const server = app.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));

// A WebSocket that echoes short text messages (RFC 6455).
server.on('upgrade', (request, socket) => {
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on('error', () => socket.destroy());
  socket.on('data', (frame) => {
    const size = frame[1] & 127;
    const text = Buffer.from(frame.subarray(6, 6 + size).map((byte, place) => byte ^ frame[2 + (place % 4)]));
    if ((frame[0] & 15) === 1) socket.write(Buffer.concat([Buffer.from([0x81, size]), text]));
    else socket.end();
  });
});
