// SPDX-License-Identifier: Apache-2.0
// What is in the image, what is not, and whether its bill of materials tells the same.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "test/image/scene.h"
#include "test/support/ctl.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

namespace json = boost::json;
using Names = std::set<std::string>;

constexpr const char* kBillInside = "/usr/share/sbom/underpass.spdx.json";

struct Bill {
  std::map<std::string, std::string> versions;  // by package
  std::map<std::string, Names> files;           // by package
  std::string sums;                             // for sha256sum --check
};

Bill read_bill(const fs::path& file) {
  const auto document = json::parse(read_file(file));
  CHECK(text_of(document.at("spdxVersion")) == "SPDX-2.3");
  CHECK(text_of(document.at("dataLicense")) == "CC0-1.0");
  Bill bill;
  std::map<std::string, std::string> packages, files;  // by SPDXID
  for (const auto& package : document.at("packages").as_array()) {
    const auto name = text_of(package.at("name"));
    packages[text_of(package.at("SPDXID"))] = name;
    bill.versions[name] = text_of(package.at("versionInfo"));
    for (const char* field : {"supplier", "downloadLocation", "licenseDeclared", "sourceInfo"})
      CHECK_MESSAGE(!text_of(package.at(field)).empty(), name << " has no " << field);
    if (name != "underpass")
      CHECK(text_of(package.at("downloadLocation")).starts_with("https://snapshot.debian.org/package/"));
  }
  for (const auto& file_entry : document.at("files").as_array()) {
    const auto path = text_of(file_entry.at("fileName")).substr(1);  // "./usr/…"
    files[text_of(file_entry.at("SPDXID"))] = path;
    for (const auto& sum : file_entry.at("checksums").as_array())
      if (text_of(sum.at("algorithm")) == "SHA256") bill.sums += text_of(sum.at("checksumValue")) + "  ." + path + "\n";
  }
  for (const auto& relationship : document.at("relationships").as_array()) {
    const auto file_entry = files.find(text_of(relationship.at("relatedSpdxElement")));
    if (file_entry == files.end()) continue;
    bill.files[packages.at(text_of(relationship.at("spdxElementId")))].insert(file_entry->second);
  }
  return bill;
}

Names files_below(const fs::path& root) {
  Names out;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file() && !entry.is_symlink()) out.insert(entry.path().string().substr(root.string().size()));
  return out;
}

// Its root file system as podman has unpacked it.
struct Unpacked {
  Sandbox sandbox;
  Podman podman{sandbox};
  std::string name = load_image(podman);
  fs::path root = podman.call({"image", "mount", name});
};

TEST_CASE("image: two runs give the same bytes") {
  if (!can_run_containers("two runs")) return;
  const Sandbox sandbox;
  const auto second = make_image(sandbox.root() / "second.tar");
  CHECK(run({.argv = {"cmp", image().archive, second.archive}}).exit.ok());
  CHECK(run({.argv = {"cmp", image().bill, second.bill}}).exit.ok());
  CHECK(second.words.contains("digest:   sha256:"));
  std::cout << image().words;
}

TEST_CASE("image: each file is of a package, and the bill of materials names both") {
  if (!can_run_containers("the bill of materials")) return;
  const Unpacked image_root;
  const auto& root = image_root.root;
  const auto bill = read_bill(image().bill);
  CHECK(read_file(image().bill) == read_file(root.string() + kBillInside));

  Names listed;
  for (const auto& [package, files] : bill.files)
    for (const auto& file : files) CHECK_MESSAGE(listed.insert(file).second, file << " is of two packages");
  listed.insert(kBillInside);
  CHECK(listed == files_below(root));
  CHECK(run({.argv = {"sh", "-c", "cd " + root.string() + " && sha256sum --check --strict --quiet -"},
             .input = bill.sums})
            .out.empty());

  // The packages are those whose files are there, and what dpkg's records in the image say.
  Names packages, records;
  for (const auto& [package, version] : bill.versions) {
    packages.insert(package);
    CHECK_MESSAGE(bill.files.contains(package), package << " has no file");
    if (package == "underpass") continue;
    CHECK(run_ok({.argv = {"dpkg-query", "--show", "--showformat", "${Version}", package}}) == version);
    CHECK(read_file(root / "var/lib/dpkg/status.d" / package).contains("\nVersion: " + version + "\n"));
    CHECK(fs::file_size(root / "usr/share/doc" / package / "copyright") > 0);
  }
  for (const auto& record : fs::directory_iterator(root / "var/lib/dpkg/status.d"))
    if (record.path().extension() != ".md5sums") records.insert(record.path().filename().string());
  records.insert("underpass");
  CHECK(records == packages);
  CHECK(packages.contains("libc6"));
  CHECK(packages.contains("ca-certificates"));

  // dpkg on this machine says the same of the libraries.
  for (const auto& [package, files] : bill.files)
    for (const auto& file : files) {
      if (!file.starts_with("/usr/lib/") || !file.contains(".so")) continue;
      auto found = run({.argv = {"dpkg-query", "--search", file}});
      if (!found.exit.ok()) found = run({.argv = {"dpkg-query", "--search", file.substr(std::string("/usr").size())}});
      CHECK_MESSAGE(found.out.starts_with(package + ":"), file << " of " << package << ": " << found.out);
    }
}

TEST_CASE("image: nothing can be run but the four programs") {
  if (!can_run_containers("what can be run")) return;
  const Unpacked image_root;
  Names programs;
  for (const auto& file : files_below(image_root.root)) {
    const auto mode = fs::status(image_root.root.string() + file).permissions();
    if ((mode & fs::perms::owner_exec) == fs::perms::none) continue;
    if (file.starts_with("/usr/lib/") && file.contains(".so")) continue;  // the loader, and libc
    programs.insert(file);
  }
  CHECK(programs == Names{"/usr/local/bin/underpass-cni", "/usr/local/bin/underpass-proxy",
                          "/usr/local/bin/underpassctl", "/usr/local/bin/underpassd"});
  const auto shell = image_root.podman.run({"run", "--rm", "--network", "none", "--cgroup-parent",
                                            "/" + image_root.sandbox.cgroup().filename().string(), "--entrypoint",
                                            "/bin/sh", image_root.name, "-c", "true"});
  CHECK(shell.exit.code == 127);
  CHECK_MESSAGE(shell.err.contains("no such file"), shell.err);
}

TEST_CASE("image: its programs start as a user without rights, on a read-only root") {
  if (!can_run_containers("a user without rights")) return;
  const Unpacked image_root;
  const auto& podman = image_root.podman;
  CHECK(podman.call({"image", "inspect", "--format", "{{.User}}", image_root.name}) == "65532:65532");
  for (const std::string program : {"underpassd", "underpass-proxy", "underpassctl"}) {
    std::vector<std::string> words{
        "run",        "--rm", "--read-only",     "--read-only-tmpfs=false",
        "--cap-drop", "ALL",  "--security-opt",  "no-new-privileges",
        "--network",  "none", "--cgroup-parent", "/" + image_root.sandbox.cgroup().filename().string()};
    if (program != "underpassd") words.insert(words.end(), {"--entrypoint", "/usr/local/bin/" + program});
    words.insert(words.end(), {image_root.name, "--version"});
    CHECK(podman.call(words) == program + " " + UNDERPASS_VERSION);
  }
}

}  // namespace
}  // namespace underpass::test
