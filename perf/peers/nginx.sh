#!/bin/sh
# peers/nginx.sh: nginx's part in the tables: one process, answering / from its configuration, or the files of a
# directory with sendfile(2) or without. Rests on nginx (nginx-light). Becomes nginx itself, so that nothing else is
# counted.
#
#   nginx.sh PORT [DIRECTORY on|off]
set -eu
case $# in
  1) what='location = / { return 200 "Hello, World!"; }' sendfile=off name=nginx ;;
  3) what="root $2;" sendfile=$3 name=nginx-$3 ;;
  *) echo "usage: nginx.sh PORT [DIRECTORY on|off]" >&2; exit 2 ;;
esac
dir=${WEIR_PERF_BUILD:-${TMPDIR:-/tmp}}/$name
mkdir -p "$dir"
cat > "$dir/nginx.conf" <<CONF
daemon off; master_process off; worker_processes 1; pid "$dir/pid"; error_log stderr crit;
events { worker_connections 32768; use epoll; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; default_type text/plain;
  sendfile $sendfile; tcp_nopush $sendfile; open_file_cache max=100 inactive=60s;
  client_body_temp_path "$dir/body"; proxy_temp_path "$dir/proxy"; fastcgi_temp_path "$dir/fastcgi";
  uwsgi_temp_path "$dir/uwsgi"; scgi_temp_path "$dir/scgi";
  server { listen 127.0.0.1:$1 backlog=4096; $what }
}
CONF
PATH=$PATH:/usr/sbin exec nginx -p "$dir" -c "$dir/nginx.conf"
