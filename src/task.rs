//! How a long job is stopped and watched: one stop flag and one progress counter, handed to every long kernel.
//! It starts no thread and calls nobody; whoever waits for the job reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub struct Task {
    stop: AtomicBool,
    done: AtomicU64,
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

    /// Starts a phase of `total` units of work.
    pub fn start(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    pub fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// (done, total) of the running phase.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
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
    fn starting_a_phase_resets_the_count() {
        let task = Task::new();
        task.start(10);
        task.advance(7);
        task.start(3);
        assert_eq!(task.progress(), (0, 3));
    }
}
