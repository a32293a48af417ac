//! No child outlives its parent: a child without a pipe gets a signal when the parent ends.

#[cfg(target_os = "linux")]
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

/// Makes the child get `signal` when the *thread* that spawns it ends: spawn from the main thread.
///
/// For programs that watch no pipe (`postgres`, `initdb`). It is set after the change of user,
/// which would clear it.
#[allow(
    unsafe_code,
    reason = "prctl has to run in the child between fork and exec; the closure makes two system calls and \
              allocates nothing, as async-signal-safety asks"
)]
pub fn die_with_parent(command: &mut Command, signal: Signal) {
    #[cfg(target_os = "linux")]
    {
        let parent = nix::unistd::getpid();
        let set = move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The parent may have ended before prctl; then no signal would ever arrive.
            if nix::unistd::getppid() == parent {
                Ok(())
            } else {
                Err(nix::errno::Errno::ESRCH.into())
            }
        };
        // SAFETY: see the reason above; `Errno` into `io::Error` is a plain integer.
        unsafe { command.pre_exec(set) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}
