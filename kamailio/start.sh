#!/bin/sh
# Starts Kamailio in the foreground with the configuration beside this script; logs go to stderr.
# KAMAILIO_RUN_DIR (writable) is required; everything else has a default:
# the table is in docs/operators/environment.md.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
run=${KAMAILIO_RUN_DIR:?KAMAILIO_RUN_DIR must name a writable folder}
sip_ip=${SIP_IP:-127.0.0.1}
sip_port=${SIP_PORT:-5060}
rpc_ip=${RPC_IP:-127.0.0.1}
export RPC_PORT="${RPC_PORT:-9060}"
export ROUTE_URL="${CONTROL_URL:-http://127.0.0.1:8081}/route"
export DIALOG_URL="${CONTROL_URL:-http://127.0.0.1:8081}/dialog"
CONTROL_IPS=$(echo "${CONTROL_IPS:-127.0.0.1}" | tr -s ', ' ' ')
export CONTROL_IPS
export DISPATCHER_LIST="$run/dispatcher.list"
: "${EDGE_TOKEN:?EDGE_TOKEN must be the secret shared with the control plane}"
mkdir -p "$run"

# SIP_ADVERTISE is `address` or `address:port`: what peers see when this machine is behind a NAT.
advertise=
own=$sip_ip:$sip_port
if [ -n "${SIP_ADVERTISE:-}" ]; then
  case $SIP_ADVERTISE in
    *:*) own=$SIP_ADVERTISE ;;
    *) own=$SIP_ADVERTISE:$sip_port ;;
  esac
  advertise=" advertise $own"
fi
export OWN_ADDRESS="$own"
export OUTSIDE_SOCKET="udp:$sip_ip:$sip_port"
export LISTEN_UDP="udp:$sip_ip:$sip_port$advertise"
export LISTEN_TCP="tcp:$sip_ip:$sip_port$advertise"
export LISTEN_RPC="tcp:$rpc_ip:$RPC_PORT"

# Media nodes cannot be shown an address of the outside: a router need not lead back in what comes from the inside. SIP_INSIDE is the
# `address:port` of the sockets that are theirs.
inside=${SIP_INSIDE:-}
if [ "$own" != "$sip_ip:$sip_port" ]; then
  inside=${SIP_INSIDE:-$sip_ip:5062}
fi
export INSIDE_ADDRESS="${inside:-$own}"
export INSIDE_SOCKET="udp:$INSIDE_ADDRESS"
export LISTEN_INSIDE_UDP="udp:$INSIDE_ADDRESS"
export LISTEN_INSIDE_TCP="tcp:$INSIDE_ADDRESS"

# TLS is spoken where there is a certificate for it. With TLS_CA_FILE the far end's certificate must be signed by one of those.
tls=
if [ -n "${TLS_CERT_FILE:-}" ]; then
  : "${TLS_KEY_FILE:?TLS_KEY_FILE must name the key of TLS_CERT_FILE}"
  tls_port=${TLS_PORT:-5061}
  export OWN_TLS="${own%:*}:$tls_port"
  export LISTEN_TLS="tls:$sip_ip:$tls_port${advertise:+ advertise $OWN_TLS}"
  export TLS_CERT_FILE TLS_KEY_FILE
  tls="-A WITH_TLS${TLS_CA_FILE:+ -A WITH_TLS_CA}"
fi

# Names of customers may not lead inside, but for the development profile.
guard=
[ "${MINIVOICE_PROFILE:-production}" = development ] || guard="-A WITH_GUARD"

# MEDIA_NODES is `host:port,host:port`; dispatcher set 1, flag 8 probes a node before it is trusted again.
: >"$DISPATCHER_LIST"
for node in $(echo "${MEDIA_NODES:-}" | tr ',' ' '); do
  echo "1 sip:$node 0${inside:+ 0 socket=$INSIDE_SOCKET}" >>"$DISPATCHER_LIST"
done

# The fast allocator instead of the debugging one: a third less CPU per decision. 512 MB hold about 60,000 transactions, and are
# taken from the machine only as they are used. So are the 32 MB of each process, 7 of which the configuration takes.
# shellcheck disable=SC2086
exec "${KAMAILIO_BIN:-kamailio}" -DD -E $tls $guard ${inside:+-A WITH_INSIDE} -f "$here/kamailio.cfg" -Y "$run" -P "$run/kamailio.pid" \
  -x fm -X fm -m "${KAMAILIO_SHM_MB:-512}" -M "${KAMAILIO_PKG_MB:-32}" ${KAMAILIO_MODULES:+-L "$KAMAILIO_MODULES"}
