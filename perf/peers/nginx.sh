#!/bin/sh
# peers/nginx.sh: nginx's part in the tables: one process, answering / from its configuration. Rests on nginx
# (nginx-light). Becomes nginx itself, so that nothing else is counted.
#
#   nginx.sh PORT
set -eu
[ $# = 1 ] || { echo "usage: nginx.sh PORT" >&2; exit 2; }
dir=${WEIR_PERF_BUILD:-${TMPDIR:-/tmp}}/nginx
mkdir -p "$dir"
cat > "$dir/nginx.conf" <<CONF
daemon off; master_process off; worker_processes 1; pid "$dir/pid"; error_log stderr crit;
events { worker_connections 32768; use epoll; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; default_type text/plain;
  client_body_temp_path "$dir/body"; proxy_temp_path "$dir/proxy"; fastcgi_temp_path "$dir/fastcgi";
  uwsgi_temp_path "$dir/uwsgi"; scgi_temp_path "$dir/scgi";
  server { listen 127.0.0.1:$1 backlog=4096; location = / { return 200 "Hello, World!"; } }
}
CONF
PATH=$PATH:/usr/sbin exec nginx -p "$dir" -c "$dir/nginx.conf"
