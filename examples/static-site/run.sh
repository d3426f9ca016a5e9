#!/usr/bin/env bash
# A publisher's whole path on one machine: build, sign, publish, serve by nginx over TLS, fetch, update, run.
#   examples/static-site/run.sh
# Everything is made in a temporary directory, and gone at the end. README.md tells what to look at.
set -euo pipefail
cd "$(dirname "$0")"
PATH="$PATH:/usr/sbin:/sbin"

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
fail() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }
for need in nginx:nginx-light openssl:openssl busybox:busybox-static; do
    command -v "${need%%:*}" >/dev/null || fail "needs \`${need%%:*}\` (Debian: apt install ${need##*:})"
done
# The programs: those in $DHOW_BIN, or on PATH, or built now.
if [ -z "${DHOW_BIN:-}" ] && ! command -v dhow >/dev/null; then
    cargo build --release --locked --bins --manifest-path ../../Cargo.toml
    DHOW_BIN="$(cd ../.. && pwd)/target/release"
fi
PATH="${DHOW_BIN:+$DHOW_BIN:}$PATH"

work="$(mktemp -d)"
nginx_pid=""
finish() {
    if [ -n "$nginx_pid" ]; then
        kill "$nginx_pid" 2>/dev/null || true
        wait "$nginx_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
port="${PORT:-8443}"

# Carly is the publisher, Bob whoever uses what she publishes. They share nothing but the web server.
carly() { run dhow --dir carly/data --config-dir carly/config "$@"; }
bob() { run dhow --dir bob/data --config-dir bob/config --ca ca.pem --connect-to "example.com:443:127.0.0.1:$port" "$@"; }

say 'Carly makes a key'
carly key generate --no-passphrase 'Carly <carly@example.com>' | tee fingerprint
fingerprint="$(tail -n 1 fingerprint | tr -d ' ')"

say 'She builds version 1.0.0: a shell, data, and a greeting'
mkdir -p root/bin root/share
cp "$(command -v busybox)" root/bin/busybox
ln -s busybox root/bin/sh
head -c 4000000 /dev/urandom >root/share/data
build() {
    printf '%s\n' "$2" >root/share/greeting
    carly build --rootfs root --owner 0:0 --name example.com/hello --label "version=$1" --exec /bin/sh \
        --exec -c --exec 'while read -r line; do echo "$line"; done </share/greeting' -o "hello-$1.aci"
}
build 1.0.0 'Hello from version 1.0.0'

say 'She signs it and publishes it into a directory, with a recipe and packs for updates by difference'
publish() { carly publish "$1" --site site --url https://example.com --delta; }
publish hello-1.0.0.aci
(cd site && find . -type f | sort)

say 'nginx serves the directory as it is, with a certificate of an authority made for this run'
ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${ec[@]}" -days 2 -subj '/CN=The authority of this example' -keyout ca.key -out ca.pem 2>/dev/null
openssl req "${ec[@]}" -subj /CN=example.com -keyout site.key -out site.csr 2>/dev/null
echo 'subjectAltName=DNS:example.com' >san
openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out site.pem 2>/dev/null
mkdir nginx
cat >nginx/nginx.conf <<END
daemon off; pid $work/nginx/pid; error_log $work/nginx/error.log;
$([ "$(id -u)" -ne 0 ] || echo 'user root;')
events {}
http {
    types { text/html html; }
    default_type application/octet-stream;
    log_format sent '\$status \$body_bytes_sent \$request_method \$uri';
    access_log $work/nginx/access.log sent;
    client_body_temp_path $work/nginx/body; proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi; uwsgi_temp_path $work/nginx/uwsgi; scgi_temp_path $work/nginx/scgi;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/site.pem;
        ssl_certificate_key $work/site.key;
        port_in_redirect off;
        root $work/site;
    }
}
END
nginx -e "$work/nginx/error.log" -p "$work/nginx" -c "$work/nginx/nginx.conf" &
nginx_pid=$!
for _ in $(seq 300); do
    [ -s nginx/pid ] && break
    kill -0 "$nginx_pid" 2>/dev/null || { cat nginx/error.log >&2; fail "nginx did not start: is port $port free? PORT=… takes another"; }
    sleep 0.1
done
sent() { awk '{ bytes += $2 } END { print bytes + 0 }' nginx/access.log; }

say 'Bob finds the image by its name, trusts the key whose fingerprint Carly told him, and fetches'
bob discover example.com/hello
bob trust add --prefix example.com --fingerprint "$fingerprint"
bob fetch example.com/hello
first="$(sent)"

say 'Carly publishes version 1.1.0'
build 1.1.0 'Hello from version 1.1.0'
publish hello-1.1.0.aci

say 'Bob fetches it: only what changed comes'
bob fetch example.com/hello
second="$(($(sent) - first))"
echo "The first fetch took $first bytes, the second $second."

say 'He runs it, and nothing is asked of the server any more'
kill "$nginx_pid"
wait "$nginx_pid" || true
nginx_pid=""
bob run --pull never example.com/hello
