// SPDX-License-Identifier: Apache-2.0
#include "agent/request_meter.h"

#include <array>
#include <limits>

#include "agent/compile/workers.h"
#include "agent/metric_family.h"

namespace underpass {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr const char* kOther = "other";
constexpr std::array<const char*, 7> kPeerLabels{"workload", "workload_namespace", "principal",         "app",
                                                 "version",  "canonical_service",  "canonical_revision"};

// A worker may say anything, and a counter never goes down.
void add_up(std::uint64_t& sum, std::uint64_t more) {
  sum = more > std::numeric_limits<std::uint64_t>::max() - sum ? std::numeric_limits<std::uint64_t>::max() : sum + more;
}
void add_up(Histogram& sums, const Histogram& more) {
  add_up(sums.sum, more.sum);
  for (std::size_t i = 0; i < kBuckets; ++i) add_up(sums.counts[i], more.counts[i]);
}
void add_up(RequestCounts& sums, const RequestCounts& more) {
  add_up(sums.requests, more.requests);
  add_up(sums.duration, more.duration);
  add_up(sums.request_bytes, more.request_bytes);
  add_up(sums.response_bytes, more.response_bytes);
}

void add_peer(Labels& labels, const std::string& end, const TrafficPeer* peer) {
  static const TrafficPeer kNobody;
  const TrafficPeer& one = peer == nullptr ? kNobody : *peer;
  std::size_t at = 0;
  for (const std::string* text : {&one.workload, &one.ns, &one.principal, &one.app, &one.version,
                                  &one.canonical_service, &one.canonical_revision})
    labels.push_back({end + kPeerLabels[at++], text->empty() ? "unknown" : *text});
}

std::string code_text(std::uint16_t code) { return code == kOtherCode ? kOther : std::to_string(code); }

std::string grpc_text(std::int8_t status) {
  if (status == kNoGrpcStatus) return "";
  return status == kOtherGrpcStatus ? kOther : std::to_string(status);
}

Labels labels_of(const TrafficPeer* source, const TrafficPeer* destination, const NamespacedName* service,
                 const RequestKey& how) {
  Labels out{{"reporter", how.reporter == Reporter::kSource ? "source" : "destination"}};
  add_peer(out, "source_", source);
  add_peer(out, "destination_", destination);
  out.push_back({"destination_service",
                 service == nullptr ? "unknown" : service->name + "." + service->ns + ".svc.cluster.local"});
  out.push_back({"destination_service_name", service == nullptr ? "unknown" : service->name});
  out.push_back({"destination_service_namespace", service == nullptr ? "unknown" : service->ns});
  out.push_back({"request_protocol", how.grpc ? "grpc" : "http"});
  out.push_back({"response_code", code_text(how.code)});
  out.push_back({"grpc_response_status", grpc_text(how.grpc_status)});
  out.push_back({"response_flags", std::string(name_of(how.flag))});
  out.push_back({"connection_security_policy", how.mutual_tls ? "mutual_tls" : "none"});
  return out;
}

Labels other_labels() {
  Labels out = labels_of(nullptr, nullptr, nullptr, {});
  for (auto& label : out) label.value = kOther;
  return out;
}

// `per_unit`: how many of the sum's units are one of the metric's.
ClientMetric histogram_of(Labels labels, const Histogram& histogram, double per_unit) {
  ClientMetric out;
  out.label = std::move(labels);
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    add_up(cumulative, histogram.counts[i]);
    const double bound =
        i < kTwiceBounds.size() ? static_cast<double>(kTwiceBounds[i]) / 2 : std::numeric_limits<double>::infinity();
    out.histogram.bucket.push_back({.cumulative_count = cumulative, .upper_bound = bound});
  }
  out.histogram.sample_count = cumulative;
  out.histogram.sample_sum = static_cast<double>(histogram.sum) / per_unit;
  return out;
}

}  // namespace

void RequestMeter::know(std::span<const Pod> pods) {
  for (const auto& [netns, peer] : pods) {
    auto& known = pods_[netns];
    if (known.peer == nullptr || *known.peer != peer) known.peer = &*peers_.insert(peer).first;
    known.seen = reading_;
  }
}

void RequestMeter::observe(std::span<const Pod> pods) {
  ++reading_;
  know(pods);
  std::erase_if(pods_, [this](const auto& pod) { return reading_ - pod.second.seen > kPodRemembered; });
  if (reading_ % kPodRemembered == 0) forget();
}

// Series of workloads that are gone, and then the names that nothing has any more.
void RequestMeter::forget() {
  std::set<std::pair<std::string_view, std::string_view>> present;
  std::set<const void*> used;
  for (const auto& [netns, pod] : pods_) {
    present.emplace(pod.peer->ns, pod.peer->workload);
    used.insert(pod.peer);
  }
  std::erase_if(series_, [&](const auto& entry) {
    const auto& [key, series] = entry;
    const auto* own = key.how.reporter == Reporter::kSource ? key.source : key.destination;
    if (reading_ - series.changed <= kRemembered || present.contains({own->ns, own->workload})) return false;
    if (--of_worker_[series.worker] == 0) of_worker_.erase(series.worker);
    return true;
  });
  for (const auto& [key, series] : series_)
    for (const void* name : {static_cast<const void*>(key.source), static_cast<const void*>(key.destination),
                             static_cast<const void*>(key.service)})
      used.insert(name);
  std::erase_if(peers_, [&](const TrafficPeer& peer) { return !used.contains(&peer); });
  std::erase_if(services_, [&](const NamespacedName& service) { return !used.contains(&service); });
}

const TrafficPeer* RequestMeter::find_peer(NetnsCookie pod) const {
  const auto found = pods_.find(pod);
  return found == pods_.end() ? nullptr : found->second.peer;
}

bool RequestMeter::is_own(std::string_view worker, NetnsCookie pod) const {
  const auto* peer = find_peer(pod);
  return peer != nullptr && compile::is_worker_of(worker, peer->ns);
}

void RequestMeter::add(const std::string& worker, std::span<const RequestSeries> series,
                       const FindService& find_service, const FindWorkload& find_workload) {
  for (const auto& [key, counts] : series) {
    if (!is_own(worker, key.reporter == Reporter::kSource ? key.client : key.server)) {
      add_up(refused_[worker], counts.requests);
      continue;
    }
    if (key.overflow) {
      full_ = true;
      add_up(other_, counts);
      continue;
    }
    Key name{.source = find_peer(key.client), .destination = find_peer(key.server), .how = key};
    name.how.client = name.how.server = 0;
    name.how.service = name.how.remote = 0;
    if (auto remote = key.remote != 0 ? find_workload(key.remote) : std::nullopt) {
      if (!key.mutual_tls) remote->principal.clear();
      auto& end = key.reporter == Reporter::kSource ? name.destination : name.source;
      if (end == nullptr) end = &*peers_.insert(std::move(*remote)).first;
    }
    if (const auto service = key.service != 0 ? find_service(key.service) : std::nullopt)
      name.service = &*services_.insert(*service).first;
    add_up(counts_of(worker, name), counts);
  }
}

RequestCounts& RequestMeter::counts_of(const std::string& worker, const Key& key) {
  auto found = series_.find(key);
  if (found == series_.end()) {
    auto& count = of_worker_[worker];
    if (series_.size() >= bounds_.series || count >= bounds_.of_a_worker) {
      full_ = true;
      return other_;
    }
    ++count;
    found = series_.emplace(key, Series{.counts = {}, .worker = worker}).first;
  }
  found->second.changed = reading_;
  return found->second.counts;
}

std::vector<MetricFamily> RequestMeter::collect() const {
  MetricFamily total{"istio_requests_total", "Requests.", MetricType::Counter, {}};
  MetricFamily duration{"istio_request_duration_milliseconds",
                        "Time from a request's first byte to its answer's last.",
                        MetricType::Histogram,
                        {}};
  MetricFamily request{"istio_request_bytes", "Sizes of requests' bodies.", MetricType::Histogram, {}};
  MetricFamily response{"istio_response_bytes", "Sizes of answers' bodies.", MetricType::Histogram, {}};
  const auto add = [&](const Labels& labels, const RequestCounts& counts) {
    constexpr double kMicrosPerMilli = 1000;
    total.metric.push_back(counter_metric(labels, counts.requests));
    duration.metric.push_back(histogram_of(labels, counts.duration, kMicrosPerMilli));
    request.metric.push_back(histogram_of(labels, counts.request_bytes, 1));
    response.metric.push_back(histogram_of(labels, counts.response_bytes, 1));
  };
  for (const auto& [key, series] : series_)
    add(labels_of(key.source, key.destination, key.service, key.how), series.counts);
  if (other_.requests != 0) add(other_labels(), other_);

  MetricFamily refused{"underpass_worker_requests_refused_total",
                       "Requests that a worker told of pods that are not its own, and that were not counted.",
                       MetricType::Counter,
                       {}};
  for (const auto& [worker, count] : refused_) refused.metric.push_back(counter_metric({{"worker", worker}}, count));
  return {
      std::move(total),
      std::move(duration),
      std::move(request),
      std::move(response),
      gauge_family("underpass_request_series", "Label sets of istio_requests_total, the one of \"other\" not counted.",
                   static_cast<double>(series_.size())),
      gauge_family("underpass_request_series_full",
                   "1: there are more than are kept, and the rest is added up with labels \"other\".", full_ ? 1 : 0),
      std::move(refused)};
}

}  // namespace underpass
