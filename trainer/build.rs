//! Tells the linker where the binaries and tests of this crate find libtorch, so that no variable has to be set.

use std::env;

pub(crate) fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let own_folder = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {
            // RUNPATH, not RPATH: LD_LIBRARY_PATH must still be able to point a finished binary at another libtorch.
            println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags");
            "$ORIGIN"
        }
        Ok("macos") => "@executable_path",
        _ => return,
    };
    // From target/release, target/release/deps and target/<triple>/release/deps.
    for up in ["../..", "../../..", "../../../.."] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{own_folder}/{up}/.native/libtorch/lib");
    }
    if let Ok(libtorch) = env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
}
