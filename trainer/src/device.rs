//! Where tensors live: `auto`, `cpu`, `cuda` or `cuda:N`.

use std::sync::OnceLock;

use tch::{Cuda, Device};

/// A device could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device.
    #[error("unknown device `{0}`, expected `auto`, `cpu`, `cuda` or `cuda:N`")]
    Unknown(String),
    /// CUDA was asked for and is not there.
    #[error(
        "device `{device}` is not available: {reason}\nhint: `cpu` works everywhere; CUDA needs a driver and `libtorch_cuda.so` beside `libtorch_cpu.so` or on LD_LIBRARY_PATH"
    )]
    NoCuda {
        /// What was asked for.
        device: String,
        /// What is missing.
        reason: String,
    },
    /// This libtorch cannot be told to be deterministic.
    #[error(
        "`training.deterministic` is not available: {0}\nhint: leave it out; runs on the CPU repeat to the bit without it"
    )]
    NoDeterminism(String),
    /// There are fewer GPUs.
    #[error("device `cuda:{index}` is not available: {count} CUDA devices are visible, counted from 0")]
    NoSuchGpu {
        /// What was asked for.
        index: usize,
        /// Devices that are there.
        count: i64,
    },
}

/// The device that `text` names. `auto` is the first GPU if CUDA works, else the CPU.
///
/// CUDA's half of libtorch is loaded here, on first need, so that one binary serves machines with and without a GPU.
///
/// # Errors
/// If there is no such device; the message says what is missing.
pub fn parse(text: &str) -> Result<Device, DeviceError> {
    let index = match text {
        "auto" => return Ok(if cuda().is_ok() { Device::Cuda(0) } else { Device::Cpu }),
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => text
            .strip_prefix("cuda:")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| DeviceError::Unknown(text.to_owned()))?,
    };
    let no_cuda = |reason: &String| DeviceError::NoCuda { device: text.to_owned(), reason: reason.clone() };
    cuda().as_ref().map_err(no_cuda)?;
    let count = Cuda::device_count();
    if index as i64 >= count {
        return Err(DeviceError::NoSuchGpu { index, count });
    }
    Ok(Device::Cuda(index))
}

/// Whether CUDA works, or why not; found out once.
fn cuda() -> &'static Result<(), String> {
    static CUDA: OnceLock<Result<(), String>> = OnceLock::new();
    CUDA.get_or_init(|| {
        if Cuda::is_available() {
            return Ok(());
        }
        load_cuda_library()?;
        if Cuda::is_available() {
            Ok(())
        } else {
            Err("libtorch_cuda.so is loaded but sees no usable GPU".to_owned())
        }
    })
}

/// Loads `libtorch_cuda.so` for good: its initialisers register the CUDA kernels with the libtorch already loaded.
#[cfg(unix)]
fn load_cuda_library() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library is part of the libtorch that this program is linked with; its initialisers are meant to run
    // in any process that has loaded libtorch_cpu.so.
    #[allow(unsafe_code)]
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    std::mem::forget(library.map_err(|e| e.to_string())?);
    Ok(())
}

/// Whether equal runs on one GPU give equal bits, at some cost in speed: libtorch then takes no operation that adds up
/// in changing order, and fails where it knows of no other. On the CPU they always do. Holds for the whole process.
///
/// # Errors
/// If this libtorch does not have the switch.
#[cfg(unix)]
pub fn set_deterministic(on: bool) -> Result<(), DeviceError> {
    use std::ffi::c_void;
    let process = libloading::os::unix::Library::this();
    // tch has no binding of the switch, `at::globalContext().setDeterministicAlgorithms(on, warn_only)`.
    // SAFETY: both are exported by the libtorch that this version of tch is linked with, with these C++ signatures; a
    // method's object comes first in the calling convention of Unix.
    #[allow(unsafe_code)]
    let set = || unsafe {
        let context = process.get::<unsafe extern "C" fn() -> *mut c_void>(b"_ZN2at13globalContextEv")?;
        let switch = process.get::<unsafe extern "C" fn(*mut c_void, bool, bool)>(
            b"_ZN2at7Context26setDeterministicAlgorithmsEbb",
        )?;
        switch(context(), on, false);
        Ok(())
    };
    set().map_err(|error: libloading::Error| DeviceError::NoDeterminism(error.to_string()))
}

/// As on Unix, where it can be done.
///
/// # Errors
/// If it is asked for.
#[cfg(not(unix))]
pub fn set_deterministic(on: bool) -> Result<(), DeviceError> {
    match on {
        true => Err(DeviceError::NoDeterminism("it is built for Unix only".to_owned())),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn load_cuda_library() -> Result<(), String> {
    Err("CUDA is loaded at run time on Unix only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_understood() {
        assert_eq!(parse("cpu").unwrap(), Device::Cpu);
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            assert!(matches!(parse(wrong), Err(DeviceError::Unknown(_))), "{wrong}");
        }
    }

    #[test]
    fn auto_is_the_cpu_exactly_where_cuda_is_refused() {
        match parse("cuda") {
            Ok(device) => assert_eq!(parse("auto").unwrap(), device),
            Err(error) => {
                assert_eq!(parse("auto").unwrap(), Device::Cpu);
                assert!(error.to_string().starts_with("device `cuda` is not available: "), "{error}");
            }
        }
    }

    #[test]
    fn a_gpu_beyond_the_last_is_refused() {
        assert!(parse("cuda:4096").is_err());
    }
}
