// peers/deno_echo.js: Deno.listen's part in the tables.
//   deno run -A deno_echo.js PORT
async function echo(connection) {
  connection.setNoDelay(true);
  const buffer = new Uint8Array(65536);
  try {
    for (let n; (n = await connection.read(buffer)) !== null;) {
      for (let sent = 0; sent < n;) sent += await connection.write(buffer.subarray(sent, n));
    }
  } catch {
    // the client left
  }
}

for await (const connection of Deno.listen({ port: Number(Deno.args[0]), hostname: '127.0.0.1' })) echo(connection);
