// SPDX-License-Identifier: Apache-2.0
#include "agent/controller_process.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/admin/http.h"
#include "agent/ca/upkeep.h"
#include "agent/controller/leader.h"
#include "agent/controller/term.h"
#include "agent/flags.h"
#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/backoff.h"
#include "agent/metric_family.h"

namespace underpass {
namespace asio = boost::asio;
using controller::Leader;
using controller::Term;

namespace {

// Within a leader's term.
constexpr std::chrono::milliseconds kRequest(4'000);
constexpr std::chrono::seconds kResign(3);

struct ControllerOptions {
  std::string kubeconfig;
  std::string ns;
  std::string identity;
  std::string lease = "underpass-controller";
  std::string secret = "underpass-ca";
  std::string trust_bundle = "underpass-trust-bundle";
  std::string agents;
  std::int64_t certificate_lifetime = 24 * 3600;  // seconds
  std::int64_t root_overlap = 60;
  std::string metrics = "0.0.0.0:15020";
  std::string ready = "0.0.0.0:15021";
  std::string log_level = "info";
};

std::string own_namespace() {
  std::ifstream file("/var/run/secrets/kubernetes.io/serviceaccount/namespace");
  std::string ns;
  return std::getline(file, ns) && !ns.empty() ? ns : "underpass-system";
}

void describe(CLI::App& app, ControllerOptions& options) {
  app.name("underpassd controller");
  app.description(
      "underpassd controller - the cluster's helper.\n\n"
      "It signs the certificates of the mesh, each only for a node that runs a pod with that service account, "
      "publishes\n"
      "the roots, and writes what agents make of policies into their status. Run two or three: one leads.");
  app.set_version_flag("--version", std::string("underpassd ") + UNDERPASS_VERSION);
  app.add_option("--kubeconfig", options.kubeconfig,
                 "Whom to ask, and as whom. Default: the service account of the pod.")
      ->check(CLI::ExistingFile);
  app.add_option("--namespace", options.ns, "Where Lease, Secret and ConfigMap are. Default: the pod's own.");
  app.add_option("--identity", options.identity,
                 "Of this process among the controllers; something random is added. Default: the host's name.");
  app.add_option("--lease", options.lease, "By which one of them leads.")->capture_default_str();
  app.add_option("--ca-secret", options.secret,
                 "The certificate authority, with the files of Istio's cacerts: an operator's, or made where there is "
                 "none.")
      ->capture_default_str();
  app.add_option("--trust-bundle", options.trust_bundle, "The ConfigMap into which the roots are written.")
      ->capture_default_str();
  app.add_option("--agents", options.agents,
                 "NAMESPACE/NAME of the agents' service account: for nobody else is signed. Default: underpass-agent "
                 "in the --namespace.")
      ->check(is_namespaced_name, "name");
  add_seconds(app, "--certificate-lifetime", options.certificate_lifetime, "24h", kShortestLifetime,
              "How long a certificate is valid at most: 24h, 90m, 30s.");
  add_seconds(app, "--root-overlap", options.root_overlap, "60s", 1,
              "For how long a new root of the mesh's own authority is known before it signs.");
  add_ports(app, options.metrics, options.ready);
  add_log_level(app, options.log_level);
  app.footer("Exit codes: 0 stopped by a signal, 1 could not start, 2 usage.");
}

// Of no other process, also where two have the same name.
std::string unique_identity(const std::string& name) {
  std::array<char, 32> suffix{};
  const auto random = static_cast<std::uint64_t>(k8s::random_fraction() * 1e15);
  std::snprintf(suffix.data(), suffix.size(), "_%013llx", static_cast<unsigned long long>(random));
  return name + suffix.data();
}

class Controller {
 public:
  Controller(asio::io_context& io, ControllerOptions options) : io_(io), options_(std::move(options)) {}

  Result<void> start() {
    auto client =
        k8s::ApiClient::open(io_, {.kubeconfig = options_.kubeconfig,
                                   .user_agent = std::string("underpassd-controller/") + UNDERPASS_VERSION,
                                   .timeouts = {.connect = kRequest, .handshake = kRequest, .request = kRequest}});
    if (!client) return std::unexpected(client.error());
    client_ = std::move(*client);
    const auto identity = unique_identity(options_.identity);
    leader_ = Leader::make(
        io_, *client_, {.lease = name(options_.lease), .identity = identity},
        {.begins = [this] { term_ = Term::begin(io_, *client_, term_options()); }, .ends = [this] { term_.reset(); }});
    if (auto done = open_http(); !done) return done;
    leader_->start();
    spdlog::info("controller-ready version={} identity={} server={} metrics={} ready={}", UNDERPASS_VERSION, identity,
                 client_->server(), metrics_->local().to_string(), ready_->local().to_string());
    return {};
  }

  void stop(std::function<void()> done) { leader_->resign(std::move(done)); }

 private:
  [[nodiscard]] NamespacedName name(const std::string& one) const { return {.ns = options_.ns, .name = one}; }

  [[nodiscard]] controller::TermOptions term_options() const {
    const std::chrono::seconds life(options_.certificate_lifetime);
    auto agents = options_.agents;
    std::ranges::replace(agents, '/', ':');
    return {.authority = {.secret = name(options_.secret),
                          .trust_bundle = name(options_.trust_bundle),
                          .upkeep = {.svid_life = life, .overlap = std::chrono::seconds(options_.root_overlap)}},
            .agents = "system:serviceaccount:" + agents,
            .longest_certificate = life};
  }

  [[nodiscard]] std::optional<std::string> not_ready() const {
    if (!leader_->problem().empty()) return leader_->problem();
    if (term_) return term_->problem();
    return std::nullopt;
  }

  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const {
    std::vector<prometheus::MetricFamily> out{
        gauge_family("underpass_controller_leader", "Whether this process leads: 1 or 0.", leader_->leads() ? 1 : 0),
        {.name = "underpass_build_info",
         .help = "1; which version this is.",
         .type = prometheus::MetricType::Gauge,
         .metric = {gauge_metric({{"version", UNDERPASS_VERSION}}, 1)}}};
    if (term_)
      for (auto& family : term_->collect()) out.push_back(std::move(family));
    return out;
  }

  Result<void> open_http() {
    auto metrics =
        admin::listen_at(io_, "--metrics", options_.metrics, admin::metrics_pages([this] { return collect(); }));
    if (!metrics) return std::unexpected(metrics.error());
    metrics_ = std::move(*metrics);
    auto ready = admin::listen_at(io_, "--ready", options_.ready, admin::ready_pages([this] { return not_ready(); }));
    if (!ready) return std::unexpected(ready.error());
    ready_ = std::move(*ready);
    return {};
  }

  asio::io_context& io_;
  ControllerOptions options_;
  std::unique_ptr<k8s::ApiClient> client_;
  std::unique_ptr<Leader> leader_;
  std::unique_ptr<Term> term_;  // null: another one leads
  std::unique_ptr<admin::HttpServer> metrics_;
  std::unique_ptr<admin::HttpServer> ready_;
};

}  // namespace

int run_controller(int argc, char** argv) {
  ControllerOptions options;
  CLI::App app;
  describe(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (options.ns.empty()) options.ns = own_namespace();
  if (options.identity.empty()) options.identity = host_name();
  if (options.agents.empty()) options.agents = options.ns + "/underpass-agent";
  start_log("underpassd", options.log_level);

  asio::io_context io(1);
  asio::signal_set signals(io, SIGTERM, SIGINT);
  Controller controller(io, std::move(options));
  if (auto done = controller.start(); !done) {
    spdlog::error("start-failed {}", done.error().message);
    return kStartFailure;
  }
  asio::steady_timer patience(io);
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    spdlog::info("stopping signal={}", signal);
    patience.expires_after(kResign);
    patience.async_wait([&](const boost::system::error_code& /*error*/) { io.stop(); });
    controller.stop([&] { io.stop(); });
  });
  io.run();
  return 0;
}

}  // namespace underpass
