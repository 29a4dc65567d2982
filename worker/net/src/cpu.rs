//! Processor affinity.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Lets this thread run only on the processors with these numbers.
pub fn set_affinity(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &processor in processors {
        set.set(processor)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Numbers of the processors this thread may run on, ascending.
pub fn available() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&processor| set.is_set(processor).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_one_processor() {
        std::thread::spawn(|| {
            let all = available().unwrap();
            assert!(!all.is_empty());
            set_affinity(&all[..1]).unwrap();
            assert_eq!(available().unwrap(), all[..1]);
            assert!(set_affinity(&[usize::MAX]).is_err());
        })
        .join()
        .unwrap();
    }
}
