//! Checks the dependencies against `deny.toml`, offline and without `cargo-deny`, which takes long to build.
//!
//! Covered are the parts of that file that this workspace uses: allowed licenses and their exceptions, banned crates, and
//! sources other than the registry.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::commands::{cargo, output, root};

const RULES: &str = "deny.toml";

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licenses that one crate may have besides the allowed ones.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// The part of `cargo metadata` that is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for a package of the workspace.
    source: Option<String>,
}

/// The workspace, and the Python package, which is one of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "python/Cargo.toml"];

/// Checks every package of both `Cargo.lock`.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join(RULES)).context(RULES)?;
    let rules: Rules = toml::from_str(&text).context(RULES)?;
    for manifest in MANIFESTS {
        let mut metadata = cargo();
        metadata.args(["metadata", "--format-version", "1", "--locked", "--all-features", "--manifest-path"]);
        let metadata = output(metadata.arg(manifest))?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
        let problems = problems(&rules, &metadata.packages);
        ensure!(problems.is_empty(), "dependencies break the rules of `{RULES}`:\n{}", problems.join("\n"));
        eprintln!("{} packages of {manifest} keep the rules of `{RULES}`", metadata.packages.len());
    }
    Ok(())
}

/// One line for each package and rule that it breaks.
fn problems(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let exceptions: BTreeMap<&str, &[String]> =
        rules.licenses.exceptions.iter().map(|e| (e.name.as_str(), e.allow.as_slice())).collect();
    let mut problems = Vec::new();
    for package in packages {
        let Package { name, version, license, source } = package;
        let extra = exceptions.get(name.as_str()).copied().unwrap_or_default();
        let license = license.as_deref().unwrap_or("none");
        if !allowed(license, &rules.licenses.allow, extra) {
            problems.push(format!("{name} {version}: license `{license}` is not allowed"));
        }
        if let Some(banned) = rules.bans.deny.iter().find(|banned| banned.name == *name) {
            problems.push(format!("{name} {version}: banned, {}", banned.reason));
        }
        if source.as_ref().is_some_and(|source| !source.starts_with("registry+")) {
            problems.push(format!("{name} {version}: not from the registry"));
        }
    }
    problems
}

/// Whether `license`, an SPDX expression, is satisfied by licenses of `allow` and `extra`.
fn allowed(license: &str, allow: &[String], extra: &[String]) -> bool {
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else { return false };
    let listed = |wanted: &LicenseReq| {
        let wanted = wanted.to_string();
        allow.iter().chain(extra).any(|one| *one == wanted)
    };
    expression.evaluate(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, license: &str, source: Option<&str>) -> Package {
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: Some(license.into()),
            source: source.map(str::to_owned),
        }
    }

    fn rules() -> Rules {
        toml::from_str(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [[licenses.exceptions]]\ncrate = \"fonts\"\nallow = [\"OFL-1.1\"]\n\
             [bans]\ndeny = [{ crate = \"openssl-sys\", reason = \"TLS is rustls\" }]\n",
        )
        .unwrap()
    }

    #[test]
    fn one_allowed_side_of_an_or_is_enough_and_both_sides_of_an_and_are_needed() {
        let allow = rules().licenses.allow;
        for (license, expected) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("none", false),
        ] {
            assert_eq!(allowed(license, &allow, &[]), expected, "{license}");
        }
    }

    #[test]
    fn each_broken_rule_is_a_problem_and_exceptions_hold_for_their_crate_only() {
        let registry = Some("registry+somewhere");
        let packages = [
            package("own", "MIT", None),
            package("fonts", "MIT AND OFL-1.1", registry),
            package("other-fonts", "MIT AND OFL-1.1", registry),
            package("openssl-sys", "MIT", registry),
            package("forked", "MIT", Some("git+somewhere")),
        ];
        assert_eq!(
            problems(&rules(), &packages),
            [
                "other-fonts 1.0.0: license `MIT AND OFL-1.1` is not allowed",
                "openssl-sys 1.0.0: banned, TLS is rustls",
                "forked 1.0.0: not from the registry",
            ]
        );
    }
}
