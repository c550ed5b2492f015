# SPDX-License-Identifier: Apache-2.0
# The image's bill of materials as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), from tables that scripts/image made.
# $table: package, version, architecture, source package and its version, maintainer, home page, main licence, all
# licences, verification code. $sums: path, package, SHA-1, SHA-256.

def rows: split("\n") | map(select(. != "") | split("\t"));
def or_null: if . == "" then null else . end;
def id: "SPDXRef-Package-" + gsub("[^A-Za-z0-9.-]"; "-");
def without_nulls: with_entries(select(.value != null));

# Debian's names of licences in SPDX's, where they are of the same text.
def licences: {
  "0BSD": "0BSD", "Apache-2.0": "Apache-2.0", "BSD-2-Clause": "BSD-2-Clause", "BSD-2-clause": "BSD-2-Clause",
  "BSD-3-Clause": "BSD-3-Clause", "BSD-3-clause": "BSD-3-Clause", "BSL-1.0": "BSL-1.0", "CC0-1.0": "CC0-1.0",
  "Expat": "MIT", "MIT": "MIT", "MPL-2.0": "MPL-2.0", "Zlib": "Zlib",
  "GPL-2": "GPL-2.0-only", "GPL-2.0": "GPL-2.0-only", "GPL-2+": "GPL-2.0-or-later", "GPL-3+": "GPL-3.0-or-later",
  "LGPL-2.1": "LGPL-2.1-only", "LGPL-2.1+": "LGPL-2.1-or-later", "LGPL-3+": "LGPL-3.0-or-later"
};
# Where a copyright file says it in prose, or where only a part of the source is in the package.
def known: {
  "base-files": "GPL-2.0-or-later",
  "ca-certificates": "MPL-2.0",
  "libc6": "LGPL-2.1-or-later",
  "libelf1": "LGPL-3.0-or-later OR GPL-2.0-or-later",
  "libfmt9": "MIT",
  "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
  "libstdc++6": "GPL-3.0-or-later WITH GCC-exception-3.1",
  "libyaml-cpp0.7": "MIT"
};
# "LGPL-3+ or GPL-2+"; what is not wholly known is not said at all.
def expression:
  [splits(" +")] | map(if . == "or" then "OR" elif . == "and" then "AND" else licences[.] // null end)
  | if length == 0 or any(. == null) then "NOASSERTION" else join(" ") end;

($table | rows) as $packages
| ($sums | rows) as $files
| {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: "underpass-\($version)-\($architecture)",
    documentNamespace: "https://underpass.dev/spdx/underpass-\($version)-\($architecture)-\($id)",
    creationInfo: { created: $created, creators: ["Organization: The Underpass Authors", "Tool: underpass-scripts-image-\($version)"] },
    documentDescribes: ["underpass" | id],
    packages: ($packages | map(
      . as [$name, $version, $architecture, $source, $source_version, $maintainer, $home, $main, $all, $code]
      | {
          SPDXID: ($name | id),
          name: $name,
          versionInfo: $version,
          filesAnalyzed: true,
          packageVerificationCode: { packageVerificationCodeValue: $code },
          licenseConcluded: "NOASSERTION",
          copyrightText: "NOASSERTION"
        }
        + if $name == "underpass" then {
            primaryPackagePurpose: "CONTAINER",
            supplier: "Organization: The Underpass Authors",
            downloadLocation: "NOASSERTION",
            licenseDeclared: "Apache-2.0",
            sourceInfo: "built from revision \($revision)",
            comment: ("Compiled into the programs from headers: \($compiled_in). " +
                      "Linked statically into /usr/local/bin/underpass-cni: \($linked).")
          } else {
            primaryPackagePurpose: (if $name | test("^(lib|zlib)") then "LIBRARY" else "OTHER" end),
            supplier: "Organization: \($maintainer | sub("<"; "(") | sub(">"; ")"))",
            downloadLocation: "https://snapshot.debian.org/package/\($source)/\($source_version | @uri)/",
            homepage: ($home | or_null),
            sourceInfo: "built from the Debian source package \($source) \($source_version)",
            licenseDeclared: (known[$name] // ($main | expression)),
            licenseComments: (($all | or_null) as $all | if $all then "debian/copyright of the source names, in Debian's words: \($all)" else "see /usr/share/doc/\($name)/copyright" end),
            externalRefs: [{
              referenceCategory: "PACKAGE-MANAGER",
              referenceType: "purl",
              referenceLocator: "pkg:deb/debian/\($name | @uri)@\($version | @uri)?arch=\($architecture)&distro=debian-12"
            }]
          } end
      | without_nulls)),
    files: ($files | to_entries | map(.key as $n | .value as [$path, $package, $sha1, $sha256] | {
      SPDXID: "SPDXRef-File-\($n)",
      fileName: ".\($path)",
      checksums: [{ algorithm: "SHA1", checksumValue: $sha1 }, { algorithm: "SHA256", checksumValue: $sha256 }],
      licenseConcluded: "NOASSERTION",
      copyrightText: "NOASSERTION"
    })),
    relationships: (
      [{ spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: ("underpass" | id) }]
      + ($packages | map(.[0] | select(. != "underpass") | { spdxElementId: ("underpass" | id), relationshipType: "CONTAINS", relatedSpdxElement: id }))
      + ($files | to_entries | map({ spdxElementId: (.value[1] | id), relationshipType: "CONTAINS", relatedSpdxElement: "SPDXRef-File-\(.key)" })))
  }
