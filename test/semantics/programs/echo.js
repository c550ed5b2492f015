// SPDX-License-Identifier: Apache-2.0
// An HTTP server that returns what it is sent, and a client that checks it.
const http = require('http');
const crypto = require('crypto');

const [role, address, port] = process.argv.slice(2);

function serve() {
  http.createServer((request, response) => request.pipe(response)).listen(Number(port), address);
  process.on('SIGINT', () => process.exit(0));
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

function post(body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: address, port, method: 'POST', agent, timeout: 20000,
                                   headers: { 'Content-Length': body.length } }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve(Buffer.concat(parts).equals(body)));
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.end(body);
  });
}

async function ask() {
  let right = 0;
  for (let round = 0; round < 10; ++round) {
    const bodies = [1000, 70000, 300000, 1048576].map((size) => Buffer.alloc(size, crypto.randomBytes(1009)));
    for (const same of await Promise.all(bodies.map(post))) right += same ? 1 : 0;
  }
  agent.destroy();
  console.log(right, 'answers are right');
}

if (role === 'server') serve();
else ask().catch((error) => { console.error(error); process.exit(1); });
