// peers/deno_http.js: Deno.serve's part in the tables.
//   deno run -A deno_http.js PORT
Deno.serve(
  { port: Number(Deno.args[0]), hostname: '127.0.0.1', onListen() {} },
  () => new Response('Hello, World!', { headers: { 'Content-Type': 'text/plain' } }),
);
