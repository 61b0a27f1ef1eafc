// peers/bun_http.js: Bun.serve's part in the tables.
//   bun bun_http.js PORT
Bun.serve({
  port: Number(process.argv[2]),
  hostname: '127.0.0.1',
  fetch: () => new Response('Hello, World!', { headers: { 'Content-Type': 'text/plain' } }),
});
