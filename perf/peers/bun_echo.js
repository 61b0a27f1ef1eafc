// peers/bun_echo.js: Bun.listen's part in the tables: an echo that keeps what a full socket did not take.
//   bun bun_echo.js PORT
Bun.listen({
  port: Number(process.argv[2]),
  hostname: '127.0.0.1',
  socket: {
    open(socket) {
      socket.setNoDelay(true);
      socket.data = [];
    },
    data(socket, chunk) {
      const sent = socket.data.length ? 0 : socket.write(chunk);
      if (sent < chunk.length) socket.data.push(Buffer.from(chunk.subarray(sent)));
    },
    drain(socket) {
      while (socket.data.length) {
        const chunk = socket.data[0], sent = socket.write(chunk);
        if (sent < chunk.length) {
          socket.data[0] = chunk.subarray(sent);
          return;
        }
        socket.data.shift();
      }
    },
  },
});
