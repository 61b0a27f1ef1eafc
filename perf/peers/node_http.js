// peers/node_http.js: node:http's part in the tables: a hello that is parsed for real.
//   node node_http.js PORT
const http = require('node:http');

http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 13 });
  response.end('Hello, World!');
}).listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
