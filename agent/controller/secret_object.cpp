// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/secret_object.h"

#include <boost/json/object.hpp>
#include <utility>

#include "agent/controller/child_object.h"
#include "agent/k8s/base64.h"
#include "agent/k8s/field.h"

namespace underpass::controller {
namespace json = boost::json;

namespace {

json::object metadata(const NamespacedName& id) {
  return {{"namespace", id.ns}, {"name", id.name}, {"labels", {{"app.kubernetes.io/part-of", "underpass"}}}};
}

json::object new_object(const char* kind, const NamespacedName& id) {
  return {{"apiVersion", "v1"}, {"kind", kind}, {"metadata", metadata(id)}};
}

}  // namespace

Result<AuthoritySecret> decode_secret(const json::value& object) {
  k8s::Findings findings;
  const k8s::Field root(object, findings);
  AuthoritySecret out;
  out.rotate = root["metadata"]["annotations"][kRotateRoot].is_string();
  for (const char* name : ca::kFileNames) {
    const auto field = root["data"][name];
    const auto text = field.string();
    if (!text || text->empty()) continue;
    auto decoded = k8s::decode_base64(*text);
    if (!decoded) return fail("data." + std::string(name) + ": no base64");
    out.files.emplace(name, std::move(*decoded));
  }
  if (findings.error) return fail(findings.error->path + ": " + findings.error->cause);
  if (out.files.empty()) return fail("data: has none of root-cert.pem, ca-cert.pem, cert-chain.pem and ca-key.pem");
  return out;
}

json::value encode_secret(const json::value& object, const NamespacedName& id, const ca::Files& files) {
  json::object out = object.is_object() ? object.get_object() : new_object("Secret", id);
  auto& data = child(out, "data");
  for (const char* name : ca::kFileNames) data.erase(name);
  for (const auto& [name, text] : files) data[name] = k8s::encode_base64(text);
  auto& meta = child(out, "metadata");
  if (auto* annotations = meta.if_contains("annotations"); annotations != nullptr && annotations->is_object())
    annotations->get_object().erase(kRotateRoot);
  return out;
}

std::optional<json::value> encode_bundle(const json::value& object, const NamespacedName& id,
                                         const std::string& bundle) {
  json::object out = object.is_object() ? object.get_object() : new_object("ConfigMap", id);
  auto& place = child(out, "data")[ca::kRootCert];
  if (place == json::value(bundle)) return std::nullopt;
  place = bundle;
  return out;
}

}  // namespace underpass::controller
