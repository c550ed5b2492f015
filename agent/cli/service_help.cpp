// SPDX-License-Identifier: Apache-2.0
// The help of what shows Services: services, explain, flows.
#include "agent/cli/help.h"

namespace underpass::cli::help {

const char* const kServices = "The Services that pods of this node can dial, and what is behind them";
const char* const kServicesMore = R"~(Columns:
  NAMESPACE, NAME  the Service
  PORT             one row for each of its ports, in each IP family (FAMILY)
  FRONTENDS        where it is dialled: cluster IP, external IPs; *:30080 is a NodePort, at any address of any node
  BACKENDS         how many may be reached from this node, and the first of them; 0: connect() is refused at once
  LB               how one of them is chosen: random, or maglev (annotation underpass.dev/load-balancing: maglev)
  AFFINITY         how long a client stays with its backend (sessionAffinity: ClientIP)
  STATE            active; refused: the Service, or this one address of it, is not in force; stale: the last good
                   version of it is
  WHY              of a refused or stale one

A headless Service, and one of type ExternalName, has no address of its own: it is not shown, and its clients dial pods.
Of two Services that claim one address it is the one's whose cluster IP it is, else the older one's; the other is shown as
refused. With internalTrafficPolicy: Local a port has a row more for its other frontends, which that policy leaves alone.

Examples:
  underpassctl services
  underpassctl services -o json | jq -r '.[] | select(.backends == []) | "\(.namespace)/\(.name):\(.port)"'
  underpassctl services -o json | jq '.[] | select(.state != "active") | {namespace, name, cause}'

The JSON is [{namespace, name, port, protocol, family, frontends: [ADDRESS:PORT], backends: [{ip, port, weight, pod}],
loadBalancing, affinitySeconds, state, cause}]; of a refused one, what is not known is null.

Exit status:
  0 done; 3 no agent)~";

const char* const kExplain = "Whether a connection would be allowed, which way it would go, and what decides it";
const char* const kExplainMore = R"(Nothing is dialled: the tables of this node are asked, as connect() asks them.

--to is what the pod would dial: an address (IPv6 in brackets) or a Service's name, that is web (in the pod's own
namespace), web.shop, web.shop.svc or web.shop.svc.cluster.local. With --method, --path or --header it is about
an HTTP request over that connection, of which a worker decides where policies ask for HTTP. Tokens are not looked at.

Policy is that of the pods of this node. A pod that is not in the mesh is unauthenticated to them.

Lines:
  VERDICT     allow, or deny: connect() fails. Of a Service: deny where all of its backends are
  WAY         direct: plain kernel TCP or UDP; short-circuit: socket to socket; proxied: through a worker
  REASON      why this way, or why not at all: who, which policy, and what one in dry run would have done
  DECIDED BY  the object that decides, and its rule; "-" where none does. Where no ALLOW policy matches, the first of them
  SERVICE     through which it goes
  DIALLED     the address that the name stands for
  BACKENDS    one of these is what the pod is connected to

Examples:
  underpassctl explain --from shop/web-7d4b9c-x2x5k --to db:5432
  underpassctl explain --from shop/web-7d4b9c-x2x5k --to kube-dns.kube-system:53 --protocol udp
  underpassctl explain --from shop/web-7d4b9c-x2x5k --to '[fd00::7]:80' -o json | jq -r .way
  underpassctl explain --from shop/web-7d4b9c-x2x5k --to db:5432 -o json | jq .decidedBy

The JSON is {verdict, way, reason, decidedBy: null | {kind, namespace, name, rule}, service, dialled,
backends: [IP:PORT]}.

Exit status:
  0 it would be allowed; 1 it would be denied; 2 usage; 3 no agent; 4 no such pod on this node, or no such Service)";

const char* const kFlows =
    "Connections of this node's enrolled pods as they begin, end, are refused and are denied, and their requests";
const char* const kFlowsMore =
    R"(The agent keeps the last 4096. Without -f these are shown; with it, also those to come, until Ctrl-C.
Flows that came faster than they could be kept are counted on standard error. Requests are those that a worker
understands: denied ones always, others only while somebody follows, and of each no more than its worker can tell.

Columns:
  TIME             when it happened (UTC)
  EVENT            opened; closed; refused: the Service has no endpoint that is ready; denied: by policy; request: one
                   that was answered, or went wrong
  PROTO            tcp or udp; of a request http/1.0, http/1.1, h2 or grpc
  FROM, SOURCE     the client's pod and address
  TO, DESTINATION  the server's
  SERVICE          through which it was dialled
  WAY              direct, short-circuit or proxied
  SENT, RECEIVED   payload, from the client's point of view; of one that is closed, all of it
  DURATION         of one that is closed, and of a request
  FALLBACK         why it was not short-circuited (see `underpassctl connections --help`)
  POLICY           of a denied one: the policy and its rule; or that no ALLOW policy matched, and which there are; or why
                   the pod is closed
  REQUEST          its method, authority and path, the answer's status, gRPC's, and a flag of the access log

Examples:
  underpassctl flows
  underpassctl flows -f --namespace shop --code 5xx
  underpassctl flows --verdict denied --pod shop/web
  underpassctl flows -f
  underpassctl flows -f -o json | jq 'select(.event == "refused") | {from: .source.pod, to: .dialled}'
  underpassctl flows -o json | jq 'select(.event == "denied") | {from: .source.pod, to: .destination.pod, policy}'

The JSON is one object a line: {seq, time, kind, event, id, protocol, way, source: {ip, port, namespace, pod, identity},
destination: {ip, port, namespace, pod, identity, service}, dialled, bytesSent, bytesReceived, durationMs,
fallbackReason, verdict, policy, side}. `kind` is connection or request; one of those has besides {method, authority,
path, code, grpcStatus, flags, details, upstreamServiceMs, requestId}, and decimals in durationMs. `side` is client where a pod of this node was denied in connect(), server where
what came to a pod was. `seq` counts the flows of this agent: a gap is what was lost.

Exit status:
  0 done, also by Ctrl-C; 3 no agent. One that goes while its flows are followed is waited for)";

}  // namespace underpass::cli::help
