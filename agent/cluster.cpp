// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster.h"

#include <spdlog/spdlog.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "agent/admin/wall_clock.h"
#include "agent/k8s/decode.h"

namespace underpass {
namespace {

namespace json = boost::json;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Pods are refused for a moment while they start: their address is not known yet, or no process of theirs.
constexpr auto kSettled = std::chrono::seconds(3);

json::value text_or_null(const std::string& text) { return text.empty() ? json::value() : json::value(text); }

json::object kind_view(const k8s::KindState& kind) {
  return {{"kind", kind.kind},
          {"path", text_or_null(kind.path)},
          {"synced", kind.synced},
          {"objects", kind.objects},
          {"lists", kind.lists},
          {"watches", kind.watches},
          {"events", kind.events},
          {"staleSince", kind.stale_since ? json::value(admin::to_rfc3339(*kind.stale_since)) : json::value()},
          {"problem", text_or_null(kind.problem)}};
}

MetricFamily family(const char* name, const char* help, MetricType type) {
  return {.name = name, .help = help, .type = type, .metric = {}};
}

void add(MetricFamily& family, double value, const std::string& kind = "") {
  ClientMetric metric;
  if (!kind.empty()) metric.label.push_back({"kind", kind});
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

// The item of the contents that this is about; null where it is gone or none names it.
const k8s::Item* find_item(const k8s::Contents& contents, const model::Diagnostic& diagnostic) {
  for (const auto& file : contents.files)
    for (const auto& item : file->items)
      if (item.kind == diagnostic.kind && item.id == diagnostic.id) return &item;
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<Cluster>> Cluster::open(boost::asio::io_context& io, const Options& options,
                                               k8s::Source::Listener listener) {
  auto client = k8s::ApiClient::open(
      io, {.kubeconfig = options.kubeconfig,
           .user_agent = std::string("underpassd/") + UNDERPASS_VERSION + " (" + options.node_name + ")"});
  if (!client) return std::unexpected(client.error());
  auto out = std::make_unique<Cluster>();
  out->client_ = std::move(*client);
  out->source_ = k8s::ApiSource::make(io, *out->client_, {.daemon_set = options.daemon_set}, std::move(listener));
  out->events_ = k8s::EventRecorder::make(*out->client_, options.node_name);
  return out;
}

void Cluster::log_version() {
  const auto version = client_->version();
  if (version == logged_version_) return;
  logged_version_ = version;
  spdlog::info("api-server server={} version={}", client_->server(), version);
  if (const auto warning = k8s::version_warning(version)) spdlog::warn("api-server-version {}", *warning);
}

std::optional<std::string> Cluster::not_synced() const {
  if (source_->synced()) return std::nullopt;
  std::string missing, problem;
  for (const auto& kind : source_->kinds()) {
    if (kind.synced) continue;
    missing += (missing.empty() ? "" : ", ") + kind.kind;
    if (problem.empty()) problem = kind.problem;
  }
  return client_->server() + " has not told yet: " + missing + (problem.empty() ? "" : " (" + problem + ")");
}

void Cluster::report(std::span<const model::Diagnostic> news, const k8s::Contents& contents) {
  for (const auto& diagnostic : news) {
    const auto* item = find_item(contents, diagnostic);
    if (item == nullptr) continue;
    const bool stale = diagnostic.state == model::Diagnostic::State::kStale;
    events_->warn({.api_version = std::string(k8s::api_version_of(item->kind)),
                   .kind = item->kind,
                   .id = item->id,
                   .uid = item->uid},
                  stale ? "Stale" : "Refused",
                  (diagnostic.path.empty() ? "" : diagnostic.path + ": ") + diagnostic.cause +
                      (stale ? "; the last good version stays in force" : ""));
  }
}

void Cluster::tick(const model::Snapshot& snapshot, std::span<const compile::PodStatus> pods) {
  log_version();
  const auto now = Clock::now();
  std::map<NamespacedName, Refusal> refusals;
  for (const auto& pod : pods) {
    const auto object = snapshot.pods.find(pod.id);
    if (!pod.refused || object == snapshot.pods.end() || object->second.terminated) continue;
    const auto before = refusals_.find(pod.id);
    auto refusal = before != refusals_.end() && before->second.reason == pod.reason
                       ? before->second
                       : Refusal{.reason = pod.reason, .since = now};
    if (!refusal.told && now - refusal.since >= kSettled) {
      events_->warn({.api_version = "v1", .kind = "Pod", .id = pod.id, .uid = object->second.uid}, "MeshRefused",
                    "not in the mesh: " + pod.reason);
      refusal.told = true;
    }
    refusals.emplace(pod.id, std::move(refusal));
  }
  refusals_ = std::move(refusals);
}

json::value Cluster::view() const {
  json::array kinds;
  for (const auto& kind : source_->kinds()) kinds.push_back(kind_view(kind));
  return json::object{
      {"server", client_->server()}, {"version", text_or_null(client_->version())}, {"kinds", std::move(kinds)}};
}

std::vector<std::string> Cluster::problems() const {
  std::vector<std::string> out;
  for (const auto& kind : source_->kinds())
    if (!kind.problem.empty()) out.push_back(kind.kind + ": " + kind.problem);
  if (!events_->problem().empty()) out.push_back("Events: " + events_->problem());
  const auto version = client_->version();
  if (const auto warning = version.empty() ? std::nullopt : k8s::version_warning(version)) out.push_back(*warning);
  return out;
}

std::vector<MetricFamily> Cluster::collect() const {
  auto objects = family("underpass_kubernetes_objects", "Objects known from the API server", MetricType::Gauge);
  auto synced = family("underpass_kubernetes_synced", "Whether a kind was listed since the start", MetricType::Gauge);
  auto lists = family("underpass_kubernetes_lists_total", "Lists that were begun", MetricType::Counter);
  auto watches = family("underpass_kubernetes_watches_total", "Watches that were begun", MetricType::Counter);
  auto events = family("underpass_kubernetes_events_total", "Changes that watches told", MetricType::Counter);
  for (const auto& kind : source_->kinds()) {
    add(objects, static_cast<double>(kind.objects), kind.kind);
    add(synced, kind.synced ? 1 : 0, kind.kind);
    add(lists, static_cast<double>(kind.lists), kind.kind);
    add(watches, static_cast<double>(kind.watches), kind.kind);
    add(events, static_cast<double>(kind.events), kind.kind);
  }
  auto made = family("underpass_kubernetes_events_made_total", "Kubernetes Events made", MetricType::Counter);
  add(made, static_cast<double>(events_->made()));
  auto dropped = family("underpass_kubernetes_events_dropped_total",
                        "Kubernetes Events not made: too many, or the API server refused them", MetricType::Counter);
  add(dropped, static_cast<double>(events_->dropped()));
  return {objects, synced, lists, watches, events, made, dropped};
}

}  // namespace underpass
