// SPDX-License-Identifier: Apache-2.0
// Which decoder an object takes, and what a List is made of. The decoders are in files of their own, the small ones in
// decode_objects.cpp.
#include "agent/k8s/decode.h"

#include <boost/json/value.hpp>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

using Decoder = Decoded<Object> (*)(const json::value&, const DecodeOptions&);

struct Kind {
  std::string_view name;
  std::string_view version;  // apiVersion: "v1" in the core group, "group/version" in all others
  Naming naming;
  Decoder decode;
  std::string_view other_version = {};  // that means the same
};

template <typename T>
Decoded<Object> as_object(Decoded<T>&& decoded) {
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  if constexpr (std::is_constructible_v<Object, T>) {
    return Object(std::move(*decoded));
  } else {
    return Object(std::make_shared<const T>(std::move(*decoded)));
  }
}

template <auto decode>
Decoded<Object> decode_with(const json::value& object, const DecodeOptions& options) {
  if constexpr (std::is_invocable_v<decltype(decode), const json::value&, const DecodeOptions&>) {
    return as_object(decode(object, options));
  } else {
    return as_object(decode(object));
  }
}

// The kinds of ours.
constexpr Kind kKinds[] = {
    {"Namespace", "v1", kNamespaceNaming, decode_with<decode_namespace>},
    {"ServiceAccount", "v1", kUsualNaming, decode_with<decode_service_account>},
    {"Pod", "v1", kUsualNaming, decode_with<decode_pod>},
    {"Service", "v1", kServiceNaming, decode_with<decode_service>},
    {"Node", "v1", kNodeNaming, decode_with<decode_node>},
    {"EndpointSlice", "discovery.k8s.io/v1", kUsualNaming, decode_with<decode_endpoint_slice>},
    {"AuthorizationPolicy", "security.istio.io/v1", kUsualNaming, decode_with<decode_authorization_policy>,
     "security.istio.io/v1beta1"},
    {"PeerAuthentication", "security.istio.io/v1", kUsualNaming, decode_with<decode_peer_authentication>,
     "security.istio.io/v1beta1"},
    {"RequestAuthentication", "security.istio.io/v1", kUsualNaming, decode_with<decode_request_authentication>,
     "security.istio.io/v1beta1"},
    {"NodeWorkloads", "underpass.dev/v1alpha1", kMeshNaming, decode_with<decode_node_workloads>},
    {"Mesh", "underpass.dev/v1alpha1", kMeshNaming, decode_with<decode_mesh>},
};

const Kind* find_kind(std::string_view name) {
  for (const auto& kind : kKinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

// "discovery.k8s.io" of "discovery.k8s.io/v1"; "" of "v1".
std::string_view group_of(std::string_view version) {
  const auto slash = version.find('/');
  return slash == std::string_view::npos ? "" : version.substr(0, slash);
}

// The kind of a PodList's members where they do not say their own, as in the API server's answers; null: not one of
// ours.
const Kind* find_kind_of_list(std::string_view name) {
  return name.ends_with("List") ? find_kind(name.substr(0, name.size() - 4)) : nullptr;
}

class DocumentDecoder {
 public:
  DocumentDecoder(const DecodeOptions& options, File& file) : options_(options), file_(file) {}

  // `member_of`: the kind of the List's members where the object is in one, and it says itself neither kind nor
  // version.
  void decode(const json::value& object, const std::string& place, bool in_list, const Kind* member_of) {
    Findings findings;
    const Field root(object, findings);
    auto kind_name = root["kind"].string();
    auto version = root["apiVersion"].string();
    if (member_of != nullptr && !kind_name) kind_name = member_of->name;
    if (member_of != nullptr && !version) version = member_of->version;
    if (!kind_name) root["kind"].refuse_field("missing: not a Kubernetes object");
    if (!version) root["apiVersion"].refuse_field("missing: not a Kubernetes object");
    if (findings.error) return refuse(place, "", *findings.error);

    const Kind* kind = find_kind(*kind_name);
    const Kind* members = find_kind_of_list(*kind_name);
    if (kind == nullptr && members == nullptr && *kind_name != "List") return;
    const Kind* known = kind != nullptr ? kind : members;
    const std::string_view wanted = known != nullptr ? known->version : "v1";
    const std::string_view other = known != nullptr ? known->other_version : "";
    // Any group may have a kind of this name; but the core group, which is Kubernetes' own, has none that we do not
    // know, and there the group was forgotten.
    if (const auto group = group_of(*version); !group.empty() && group != group_of(wanted)) return;
    if (*version != wanted && (other.empty() || *version != other)) {
      root["apiVersion"].refuse("must be " + show(wanted) + (other.empty() ? "" : " or " + show(other)));
      return refuse(place, *kind_name, *findings.error);
    }
    if (kind != nullptr) return decode_one(object, *kind, place);
    if (in_list) return refuse(place, *kind_name, {"", "a list inside a list"});
    decode_list(object, place, *kind_name, members);
  }

 private:
  void decode_one(const json::value& object, const Kind& kind, const std::string& place) {
    Findings findings;
    const auto metadata = Field(object, findings)["metadata"];
    auto id = decode_id(metadata, kind.naming);
    if (findings.error) return refuse(place, kind.name, *findings.error);
    auto uid = metadata["uid"].string().value_or("");  // wrong ones are the decoder's business
    file_.items.push_back(
        {std::string(kind.name), std::move(id), place, kind.decode(object, options_), std::move(uid)});
  }

  void decode_list(const json::value& object, const std::string& place, std::string_view kind, const Kind* members) {
    Findings findings;
    const auto items = Field(object, findings)["items"];
    static_cast<void>(items.elements());
    if (findings.error) return refuse(place, kind, *findings.error);
    if (!items.present()) return;
    std::size_t index = 0;
    for (const auto& item : object.at("items").as_array()) {
      decode(item, place + " items[" + std::to_string(index++) + "]", /*in_list=*/true, members);
    }
  }

  void refuse(const std::string& place, std::string_view kind, const DecodeError& error) {
    std::string cause;
    if (!kind.empty()) cause += std::string(kind) + ": ";
    if (!error.path.empty()) cause += error.path + ": ";
    file_.unreadable.push_back({place, cause + error.cause});
  }

  const DecodeOptions& options_;
  File& file_;
};

}  // namespace

void decode_document(const json::value& document, const std::string& place, const DecodeOptions& options, File& file) {
  if (document.is_null()) return;  // nothing between two "---"
  DocumentDecoder(options, file).decode(document, place, /*in_list=*/false, nullptr);
}

std::string_view api_version_of(std::string_view kind) {
  const auto* known = find_kind(kind);
  return known == nullptr ? "" : known->version;
}

std::string object_name(const std::string& kind, const NamespacedName& id) {
  return kind + " " + (id.ns.empty() ? id.name : id.to_string());
}

Error describe(const std::string& kind, const NamespacedName& id, const DecodeError& error) {
  return {object_name(kind, id) + ": " + (error.path.empty() ? "" : error.path + ": ") + error.cause};
}

}  // namespace underpass::k8s
