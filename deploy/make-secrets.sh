#!/bin/sh
# Creates the secrets that compose.yaml mounts; run it again to renew the certificates.
#   deploy/make-secrets.sh FOLDER [HOST...]      further host names that clients use
set -eu
folder=${1:?which folder?}
shift
umask 077

# Whoever owns the folder reads the keys, and can exchange them.
mkdir -p "$folder"
if [ -L "${folder%/}" ] || [ -z "$(find "$folder" -prune -user "$(id -u)")" ]; then
  echo "$folder is a link or another user's folder; name one of your own" >&2
  exit 1
fi
chmod 700 "$folder"

set -- trainer mentor predictor "$@"
for host; do
  shift
  set -- "$@" --host "$host"
done
mentorgrad certs dev "$folder/authority" "$@"

# The containers run as other users and must be able to read these files. On this host, only the
# owner can enter the parent folder.
cd "$folder"
mkdir -p tls
chmod 755 tls
for file in ca.pem server.pem server.key client.pem client.key; do
  cp "authority/$file" "tls/.$file"
  chmod 444 "tls/.$file"
  mv -f "tls/.$file" "tls/$file"
done
if [ ! -e postgres-password ]; then
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >postgres-password
  printf 'store = "postgresql://mentorgrad:%s@postgres/mentorgrad"\n' "$(cat postgres-password)" \
    >trainer.toml
  chmod 444 postgres-password trainer.toml
fi
