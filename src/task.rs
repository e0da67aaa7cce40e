//! How a long job is stopped and watched: one stop flag and one progress counter, handed to every long kernel.
//! It starts no thread and calls nobody; whoever waits for the job reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub struct Task {
    stop: AtomicBool,
    done: AtomicU64,
    started: AtomicU64,
    total: AtomicU64,
}

impl Task {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop; it returns [`Error::Cancelled`] at its next block.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Call between blocks of at most some tens of milliseconds.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Says how many units all phases together will have, so that the share done does not fall between phases.
    pub fn plan(&self, units: u64) {
        self.total.fetch_max(units, Ordering::Relaxed);
    }

    /// Starts a phase of `units` of work; the total grows where the phases were not planned.
    pub fn start(&self, units: u64) {
        let started = self.started.fetch_add(units, Ordering::Relaxed) + units;
        self.total.fetch_max(started, Ordering::Relaxed);
    }

    pub fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// (done, total) of all phases so far and planned.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// Runs work that can't be stopped from inside (a foreign library) on a thread of its own, with as many pool threads
/// as the caller has. A cancelled caller returns at once and leaves the work behind to finish by itself: so the work
/// owns everything it touches.
///
/// # Errors
/// What the work returns; `Cancelled`; `Internal` when it panicked.
pub fn leave_behind_when_cancelled<T: Send + 'static>(
    task: &Task,
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    task.check()?;
    let (sender, receiver) = mpsc::channel();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads()).build();
    let pool = pool.map_err(|error| Error::Internal { message: error.to_string() })?;
    std::thread::spawn(move || {
        // the receiver is gone when the caller was cancelled: nobody is left to tell
        let _ = sender.send(pool.install(work));
    });
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => task.check()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::Internal { message: format!("{what} panicked") });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_task_reports_cancelled() {
        let task = Task::new();
        assert_eq!(task.check(), Ok(()));
        task.stop();
        assert_eq!(task.check(), Err(Error::Cancelled));
    }

    #[test]
    fn phases_add_up_to_the_plan() {
        let task = Task::new();
        task.plan(15);
        task.start(10);
        task.advance(10);
        task.start(5);
        assert_eq!(task.progress(), (10, 15));
        task.start(5);
        assert_eq!(task.progress(), (10, 20));
    }
}
