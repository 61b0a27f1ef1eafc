// peers/node_static.js: node:http's part in the tables of static files: a stream of the file, as the guides have it.
//   node node_static.js PORT DIRECTORY
const http = require('node:http');
const fs = require('node:fs');
const path = require('node:path');
const { pipeline } = require('node:stream');

http.createServer((request, response) => {
  const name = path.join(process.argv[3], path.normalize(request.url));
  fs.stat(name, (error, facts) => {
    response.writeHead(error ? 404 : 200, { 'Content-Length': error ? 0 : facts.size });
    if (error) return response.end();
    pipeline(fs.createReadStream(name, { highWaterMark: 524288 }), response, () => {});
  });
}).listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
