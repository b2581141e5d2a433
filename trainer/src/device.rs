//! The device of a training, as libtorch knows it.

use std::sync::OnceLock;

use hyperloader_core::device::Device;
use tch::Cuda;

/// A device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// CUDA was asked for and does not work.
    #[error(
        "device `{device}` is not available: {reason}\nhint: `cpu` works everywhere; CUDA needs a driver and `libtorch_cuda.so` beside `libtorch_cpu.so` or on LD_LIBRARY_PATH"
    )]
    NoCuda {
        /// The device that was asked for.
        device: Device,
        /// Name of the missing part.
        reason: String,
    },
    /// This libtorch cannot be made deterministic.
    #[error(
        "`training.deterministic` is not available: {0}\nhint: leave it out; runs on the CPU are repeatable bit for bit without it"
    )]
    NoDeterminism(String),
    /// There are fewer GPUs.
    #[error("device `cuda:{index}` is not available: {count} CUDA devices are visible, counted from 0")]
    NoSuchGpu {
        /// Index that was asked for, from 0.
        index: u32,
        /// Number of visible devices.
        count: i64,
    },
}

/// libtorch's device for the process `local_rank` of this machine, 0 if it is the only one. `auto` is the first GPU if CUDA
/// works, else the CPU; each further process takes the GPU after that of the process before it.
///
/// CUDA's part of libtorch is loaded here, on first need, so that one binary serves machines with and without a GPU.
///
/// # Errors
/// If the device is not available; the message says what is missing.
pub fn resolve(device: Device, local_rank: u32) -> Result<tch::Device, DeviceError> {
    let index = match device {
        Device::Auto if cuda().is_ok() => local_rank,
        Device::Auto | Device::Cpu => return Ok(tch::Device::Cpu),
        Device::Cuda(index) => index.saturating_add(local_rank),
    };
    cuda().as_ref().map_err(|reason| DeviceError::NoCuda { device, reason: reason.clone() })?;
    let count = Cuda::device_count();
    match i64::from(index) < count {
        true => Ok(tch::Device::Cuda(index as usize)),
        false => Err(DeviceError::NoSuchGpu { index, count }),
    }
}

/// Whether CUDA works, or why not; checked once.
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

/// Loads `libtorch_cuda.so` and keeps it: its initializers register the CUDA kernels with the loaded libtorch.
#[cfg(unix)]
fn load_cuda_library() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library is part of the libtorch that this program is linked with; its initializers are meant to run
    // in any process that has loaded libtorch_cpu.so.
    #[allow(unsafe_code)]
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    std::mem::forget(library.map_err(|e| e.to_string())?);
    Ok(())
}

/// Makes runs on one GPU repeatable bit for bit, at some cost in speed: libtorch then uses no operation that adds numbers
/// in a varying order, and fails if an operation has no other implementation. On the CPU, runs are always repeatable. The
/// switch applies to the whole process.
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

/// On other systems than Unix there is no switch.
///
/// # Errors
/// If `on` is true.
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
    fn auto_is_the_cpu_exactly_where_cuda_is_refused() {
        match resolve(Device::Cuda(0), 0) {
            Ok(device) => assert_eq!(resolve(Device::Auto, 0).unwrap(), device),
            Err(error) => {
                assert_eq!(resolve(Device::Auto, 0).unwrap(), tch::Device::Cpu);
                assert!(error.to_string().starts_with("device `cuda:0` is not available: "), "{error}");
            }
        }
        assert_eq!(resolve(Device::Cpu, 3).unwrap(), tch::Device::Cpu);
    }

    #[test]
    fn a_gpu_beyond_the_last_is_refused() {
        assert!(resolve(Device::Cuda(4096), 0).is_err());
        assert!(resolve(Device::Cuda(0), 4096).is_err());
    }
}
