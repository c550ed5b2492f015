// SPDX-License-Identifier: Apache-2.0
// Node's http and http2, as server and as client of either version.
// usage: web.js server|client 1|2 ADDRESS PORT
const crypto = require('crypto');
const http = require('http');
const http2 = require('http2');

const [role, version, address, port] = process.argv.slice(2);
const body = Buffer.alloc(1 << 20, 'node ');
const digest = (bytes) => `${bytes.length}:${crypto.createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`;
const whole = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};

// The same for both versions, by node's compatibility API.
async function handle(request, response) {
  const sent = await whole(request);
  if (request.url === '/large') return response.end(body);
  if (request.url === '/none') return response.writeHead(204).end();
  if (request.url === '/missing') return response.writeHead(404, {'x-why': 'not here'}).end('no');
  if (request.url === '/reset') {
    response.write('the beginning');
    return setTimeout(() => version === '2' ? response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
                                            : request.socket.resetAndDestroy(), 50);
  }
  if (request.method === 'HEAD') return response.writeHead(200, {'x-method': 'HEAD'}).end();
  if (version === '1') response.setHeader('trailer', 'x-sum');
  response.setHeader('x-method', request.method);
  response.setHeader('x-trailer', request.trailers['x-sum'] || 'none');
  response.write(sent.subarray(0, 10));
  if (version === '1') response.addTrailers({'x-sum': digest(sent)});
  else response.setTrailer('x-sum', digest(sent));
  response.end(sent.subarray(10));
}

function serve() {
  if (version === '1') return http.createServer(handle).listen(port, address);
  http2.createServer({settings: {enableConnectProtocol: true}}, handle).listen(port, address);
}

const kAsks = [['GET', '/large'], ['GET', '/none'], ['GET', '/missing'], ['HEAD', '/echo'], ['POST', '/echo', body],
               ['PUT', '/echo', Buffer.from('small')], ['DELETE', '/echo'], ['GET', '/reset'], ['GET', '/large']];

function ask1(agent, method, path, sends) {
  return new Promise((resolve) => {
    const request = http.request({agent, host: address, port, method, path, headers: {te: 'trailers'}});
    request.on('error', () => resolve('error'));
    request.on('response', async (response) => {
      try {
        const got = await whole(response);
        resolve(`${response.statusCode} ${response.headers['x-method'] || '-'} ${response.headers['x-trailer'] || '-'} ` +
                `${digest(got)} ${response.trailers['x-sum'] || '-'}`);
      } catch {
        resolve('error');
      }
    });
    if (sends) {
      request.setHeader('trailer', 'x-sum');
      request.write(sends);  // chunked, since nobody said how long it is
      request.addTrailers({'x-sum': 'sum of client'});
    }
    request.end();
  });
}

function ask2(session, method, path, sends) {
  return new Promise((resolve) => {
    const stream = session.request({':method': method, ':path': path, te: 'trailers'},
                                   {endStream: !sends, waitForTrailers: Boolean(sends)});
    let head = {}, trailers = {};
    stream.on('response', (fields) => head = fields);
    stream.on('trailers', (fields) => trailers = fields);
    stream.on('wantTrailers', () => stream.sendTrailers({'x-sum': 'sum of client'}));
    stream.on('error', () => resolve('error'));
    whole(stream).then((got) => resolve(
        `${head[':status']} ${head['x-method'] || '-'} ${head['x-trailer'] || '-'} ${digest(got)} ` +
        `${trailers['x-sum'] || '-'}`), () => resolve('error'));
    if (sends) stream.end(sends);
  });
}

async function client() {
  const agent = new http.Agent({keepAlive: true, maxSockets: 4});
  const session = version === '2' ? http2.connect(`http://${address}:${port}`) : null;
  if (session) session.on('error', (error) => console.log('session', error.message));
  const ask = (...what) => version === '1' ? ask1(agent, ...what) : ask2(session, ...what);
  for (const what of kAsks) console.log(what[0], what[1], await ask(...what));
  const many = await Promise.all(Array.from({length: 50}, (_, i) => ask('POST', '/echo', Buffer.from(`number ${i}`))));
  console.log('many', new Set(many).size, many[49]);
  agent.destroy();
  if (session) session.close();
}

role === 'server' ? serve() : client();
