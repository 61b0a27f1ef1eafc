// peers/node_echo.js: node:net's part in the tables: an echo that stops reading while its writes wait.
//   node node_echo.js PORT
const net = require('node:net');

net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    if (socket.write(chunk)) return;
    socket.pause();
    socket.once('drain', () => socket.resume());
  });
}).listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
