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

for host; do
  shift
  set -- "$@" --host "$host"
done

# The containers run as other users and must be able to read these files. On this host, only the
# owner can enter the parent folder.
publish() { # FILE FOLDER
  cp "$folder/authority/$1" "$2/.$1"
  chmod 444 "$2/.$1"
  mv -f "$2/.$1" "$2/$1"
}

# Each service has a key of its own: who gets hold of one cannot pass for another service.
for service in trainer mentor predictor ui; do
  own=$folder/tls/$service
  mkdir -p "$own"
  chmod 755 "$folder/tls" "$own"
  case $service in
    trainer) files='server.pem server.key client.pem client.key' hosts=all ;;
    mentor) files='server.pem server.key client.pem client.key' hosts= ;; # only the trainer calls it
    predictor) files='server.pem server.key' hosts=all ;;                 # it calls nobody
    ui) files='server.pem server.key' hosts=all ;;                        # it has a token
  esac
  if [ "$hosts" ]; then
    mentorgrad certs dev "$folder/authority" --host "$service" "$@"
  else
    mentorgrad certs dev "$folder/authority" --host "$service"
  fi
  for file in ca.pem $files; do
    publish "$file" "$own"
  done
done
publish ca.pem "$folder/tls" # for clients

cd "$folder"
if [ ! -e postgres-password ]; then
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >postgres-password
  printf 'store = "postgresql://mentorgrad:%s@postgres/mentorgrad"\n' "$(cat postgres-password)" \
    >trainer.toml
  chmod 444 postgres-password trainer.toml
fi
