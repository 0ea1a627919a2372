#!/bin/sh
# Makes the secrets that compose.yaml mounts; called again, it renews the certificates.
#   deploy/make-secrets.sh FOLDER [HOST...]      names that clients know the trainer's host by
set -eu
folder=${1:?which folder?}
shift
umask 077

set -- trainer mentor "$@"
for host; do
  shift
  set -- "$@" --host "$host"
done
mentorgrad certs dev "$folder/authority" "$@"

# Containers read these as users of their own. On this host nobody else enters the folder above.
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
