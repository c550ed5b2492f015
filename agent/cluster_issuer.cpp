// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster_issuer.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <utility>

#include "agent/ca/authority.h"
#include "agent/ca/request.h"
#include "agent/k8s/api/object_watch.h"
#include "agent/k8s/base64.h"
#include "agent/k8s/field.h"

namespace underpass {
namespace asio = boost::asio;
namespace json = boost::json;
using ca::Issued;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kAtOnce = 16;
constexpr unsigned kNotFound = 404;

std::string text_at(const json::value& object, std::initializer_list<std::string_view> path) {
  k8s::Findings ignored;
  k8s::Field at(object, ignored);
  for (const auto& name : path) at = at[name];
  return at.string().value_or("");
}

json::value request_object(const ca::Request& request, std::chrono::seconds lasts) {
  return json::object{{"apiVersion", "certificates.k8s.io/v1"},
                      {"kind", "CertificateSigningRequest"},
                      {"metadata", {{"generateName", "underpass-"}}},
                      {"spec",
                       {{"request", k8s::encode_base64(request.pem)},
                        {"signerName", ca::kSignerName},
                        {"expirationSeconds", lasts.count()},
                        {"usages", json::array(ca::kUsages.begin(), ca::kUsages.end())}}}};
}

struct Asked {
  Asked(asio::io_context& io, std::string whose, ca::Request made, ca::Issuer::Done then)
      : identity(std::move(whose)), request(std::move(made)), done(std::move(then)), timer(io) {}

  std::string identity;
  ca::Request request;
  ca::Issuer::Done done;
  asio::steady_timer timer;
  std::string name;  // of the object; empty: not made yet
  Clock::time_point since = Clock::now();
  std::chrono::milliseconds pause{};
  std::string problem;  // of the last look
};
using AskedPtr = std::shared_ptr<Asked>;

class ClusterIssuer : public ca::Issuer {
 public:
  ClusterIssuer(asio::io_context& io, k8s::ApiClient& client, ClusterIssuerOptions options)
      : io_(io), client_(client), options_(std::move(options)) {
    if (!options_.known_bundle.empty()) (void)take_bundle(options_.known_bundle);
    watch_ = std::make_unique<k8s::ObjectWatch>(
        io, client,
        k8s::ApiKind{.kind = "ConfigMap",
                     .plural = "configmaps",
                     .group = "",
                     .ns = options_.trust_bundle.ns,
                     .field_selector = "metadata.name=" + options_.trust_bundle.name,
                     .told = false},
        k8s::ObjectWatch::Hooks{.seen = [this](const k8s::Received& received) { take_map(received); },
                                .gone = [this](const NamespacedName& /*id*/) { problem_ = map_name() + ": is gone"; }});
  }

  bool look(ca::WallTime /*now*/, std::vector<std::string>& news) override {
    if (!std::exchange(started_, true)) watch_->start();
    std::ranges::move(std::exchange(news_, {}), std::back_inserter(news));
    return std::exchange(fresh_, false);
  }

  [[nodiscard]] const std::string& trust_bundle() const override { return bundle_; }

  [[nodiscard]] std::string obstacle() const override {
    if (bundle_.empty()) return "it has no trust bundle yet";
    const auto now = Clock::now();
    for (const auto& one : asked_) {
      if (now - one->since < options_.patience) continue;
      if (!one->problem.empty()) return one->problem;
      return "the controller has not answered CertificateSigningRequest " + one->name;
    }
    return "";
  }

  [[nodiscard]] ca::WallTime ends() const override { return ca::WallTime::max(); }

  // By names and key identifiers alone: signatures were looked at when it came.
  [[nodiscard]] bool is_outdated(const Issued& issued, ca::WallTime /*now*/) const override {
    return !roots_.empty() && std::ranges::none_of(roots_, [&](const auto& root) {
      return X509_check_issued(root.get(), issued.chain.back().get()) == X509_V_OK;
    });
  }

  [[nodiscard]] std::size_t at_once() const override { return kAtOnce; }

  void issue(const std::string& identity, ca::WallTime /*now*/, Done done) override {
    if (bundle_.empty()) return done(fail(bundle_problem()));
    auto request = ca::make_request(identity);
    if (!request) return done(std::unexpected(request.error()));
    auto asked = std::make_shared<Asked>(io_, identity, std::move(*request), std::move(done));
    asked_.push_back(asked);
    client_.request("POST", ca::kRequestsPath, request_object(asked->request, options_.svid_life),
                    [this, weak = std::weak_ptr(asked)](const Result<k8s::ApiAnswer>& answer) {
                      if (const auto one = weak.lock()) created(one, answer);
                    });
  }

  [[nodiscard]] std::vector<ca::Row> rows(ca::WallTime now) const override {
    return ca::rows_of(ca::Kind::kRoot, roots_, now);
  }

  [[nodiscard]] std::vector<ca::Problem> problems(ca::WallTime now) const override {
    std::vector<ca::Problem> out;
    if (bundle_.empty())
      out.push_back({.text = "ca " + bundle_problem(), .urgent = true});
    else if (const auto problem = source_problem(); !problem.empty())
      out.push_back({.text = "ca " + problem + "; the roots that are known stay in use"});
    if (const auto why = obstacle(); !why.empty() && !bundle_.empty()) out.push_back({.text = "ca " + why});
    std::ranges::move(ca::problems_of_ends(map_name(), roots_, now), std::back_inserter(out));
    return out;
  }

  [[nodiscard]] Result<void> rotate_root(ca::WallTime /*now*/) override {
    return fail("the cluster's controller keeps the authority: annotate its Secret with underpass.dev/rotate-root=now");
  }

 private:
  [[nodiscard]] std::string map_name() const { return "ConfigMap " + options_.trust_bundle.to_string(); }

  [[nodiscard]] std::string source_problem() const { return problem_.empty() ? watch_->state().problem : problem_; }

  [[nodiscard]] std::string bundle_problem() const {
    const auto problem = source_problem();
    return problem.empty() ? map_name() + ": is not there: no controller has run yet" : problem;
  }

  void take_map(const k8s::Received& received) {
    k8s::Findings ignored;
    const auto bundle = k8s::Field(received.object, ignored)["data"][ca::kRootCert].string();
    const auto taken = bundle ? take_bundle(*bundle) : fail("data: has no " + std::string(ca::kRootCert));
    problem_ = taken ? "" : map_name() + ": " + taken.error().message;
  }

  Result<void> take_bundle(const std::string& text) {
    auto roots = ca::parse_certificates(text);
    if (!roots) return fail_in(ca::kRootCert, roots.error());
    auto bundle = ca::to_pem(*roots);
    if (bundle == bundle_) return {};
    if (!bundle_.empty()) news_.push_back("trust-bundle-changed from=\"" + map_name() + "\"");
    bundle_ = std::move(bundle);
    roots_ = std::move(*roots);
    fresh_ = true;
    return {};
  }

  void created(const AskedPtr& asked, const Result<k8s::ApiAnswer>& answer) {
    if (!answer) return end(asked, fail_in("create certificatesigningrequests", answer.error()));
    if (answer->status / 100 != 2)
      return end(asked, fail("create certificatesigningrequests: " + k8s::describe(*answer)));
    asked->name = text_at(answer->body, {"metadata", "name"});
    asked->pause = options_.first_look;
    wait(asked);
  }

  void wait(const AskedPtr& asked) {
    asked->timer.expires_after(asked->pause);
    asked->pause = std::min(asked->pause * 2, options_.longest_pause);
    asked->timer.async_wait([this, weak = std::weak_ptr(asked)](const boost::system::error_code& error) {
      const auto one = weak.lock();
      if (error || !one) return;
      client_.request("GET", std::string(ca::kRequestsPath) + "/" + one->name, nullptr,
                      [this, weak](const Result<k8s::ApiAnswer>& answer) {
                        if (const auto same = weak.lock()) seen(same, answer);
                      });
    });
  }

  void seen(const AskedPtr& asked, const Result<k8s::ApiAnswer>& answer) {
    const std::string what = "CertificateSigningRequest " + asked->name;
    if (answer && answer->status == kNotFound) return end(asked, fail(what + ": is gone without an answer"));
    asked->problem = !answer                     ? answer.error().message
                     : answer->status / 100 != 2 ? "get certificatesigningrequests: " + k8s::describe(*answer)
                                                 : "";
    if (!asked->problem.empty()) return wait(asked);
    k8s::Findings ignored;
    const auto status = k8s::Field(answer->body, ignored)["status"];
    for (const auto& condition : status["conditions"].elements()) {
      const auto type = condition["type"].string().value_or("");
      if (type == "Denied" || type == "Failed")
        return end(asked, fail(what + ": " + type + ": " + condition["message"].string().value_or("")));
    }
    const auto text = status["certificate"].string().value_or("");
    if (text.empty()) return wait(asked);
    auto issued = check(*asked, text);
    if (!issued) return end(asked, fail_in(what, issued.error()));
    end(asked, std::move(issued));
  }

  // Whether this is the certificate that was asked for, and one that peers believe.
  [[nodiscard]] Result<Issued> check(const Asked& asked, const std::string& text) const {
    const auto pem = k8s::decode_base64(text);
    if (!pem) return fail("status.certificate: no base64");
    auto chain = ca::parse_certificates(*pem);
    if (!chain) return fail_in("status.certificate", chain.error());
    const auto& leaf = chain->front();
    if (X509_check_private_key(leaf.get(), asked.request.key.get()) != 1) {
      (void)ca::openssl_cause();
      return fail("status.certificate: is of another key");
    }
    if (ca::describe(leaf).identity != asked.identity)
      return fail("status.certificate: is of \"" + ca::describe(leaf).identity + "\"");
    const auto now = std::chrono::system_clock::now();
    if (const auto problem = ca::out_of_time(leaf, now); !problem.empty())
      return fail("status.certificate: " + problem + ", and here it is " + ca::time_text(now) +
                  ": the clock of this node or of the controller's is wrong");
    auto way = ca::verify_chain(leaf, {chain->begin() + 1, chain->end()}, roots_, now);
    if (!way) return fail("status.certificate: leads to no root of " + map_name() + ": " + way.error().message);
    way->pop_back();
    return Issued{.pair = {.certificate = leaf, .key = asked.request.key}, .chain = std::move(*way), .issued = now};
  }

  void end(const AskedPtr& asked, Result<Issued> result) {
    std::erase(asked_, asked);
    asked->done(std::move(result));
  }

  asio::io_context& io_;
  k8s::ApiClient& client_;
  ClusterIssuerOptions options_;
  std::unique_ptr<k8s::ObjectWatch> watch_;
  std::vector<AskedPtr> asked_;
  std::vector<ca::CertificatePtr> roots_;
  std::string bundle_;
  std::string problem_;  // of the ConfigMap, as it was when it came last
  std::vector<std::string> news_;
  bool started_ = false;
  bool fresh_ = false;
};

}  // namespace

std::unique_ptr<ca::Issuer> make_cluster_issuer(asio::io_context& io, k8s::ApiClient& client,
                                                ClusterIssuerOptions options) {
  return std::make_unique<ClusterIssuer>(io, client, std::move(options));
}

}  // namespace underpass
