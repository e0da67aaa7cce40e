"""Changes of a run's clusters by hand, as a notebook makes them: ``run.edit``. Every method calls one use case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from lmsys_rs import curation, rules, selection
from lmsys_rs.curation import EditResult
from lmsys_rs.rules import RuleResult
from lmsys_rs.session import Session

__all__ = ["Edits"]


class Edits:
    """Edits of one run. With ``dry_run=True`` an edit is worked out and shown, and nothing is changed."""

    def __init__(self, session: Session, run_id: str, changed: Callable[[], None]) -> None:
        self._session = session
        self._run_id = run_id
        self._changed = changed

    def rename(
        self,
        cluster_id: int,
        title: str | None = None,
        description: str | None = None,
        *,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> EditResult:
        """Give a cluster your own title or description; see `curation.rename_cluster`."""
        return self._done(
            curation.rename_cluster(
                self._session,
                self._run_id,
                cluster_id,
                title,
                description,
                reason=reason,
                editor=editor,
                dry_run=dry_run,
            )
        )

    def move(
        self,
        query_ids: Sequence[int],
        to_cluster: int,
        *,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> EditResult:
        """Put queries (and all with the same text) into another cluster; see `curation.move_queries`."""
        return self._done(
            curation.move_queries(
                self._session, self._run_id, query_ids, to_cluster, reason=reason, editor=editor, dry_run=dry_run
            )
        )

    def merge(
        self,
        sources: Sequence[int],
        target: int,
        *,
        title: str | None = None,
        description: str | None = None,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> EditResult:
        """Put all texts of some clusters into one; see `curation.merge_clusters`."""
        return self._done(
            curation.merge_clusters(
                self._session,
                self._run_id,
                sources,
                target,
                title=title,
                description=description,
                reason=reason,
                editor=editor,
                dry_run=dry_run,
            )
        )

    def split(
        self,
        cluster_id: int,
        query_ids: Sequence[int],
        *,
        title: str | None = None,
        description: str | None = None,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> EditResult:
        """Take queries out of a cluster into a new one; see `curation.split_cluster`."""
        return self._done(
            curation.split_cluster(
                self._session,
                self._run_id,
                cluster_id,
                query_ids,
                title=title,
                description=description,
                reason=reason,
                editor=editor,
                dry_run=dry_run,
            )
        )

    def delete(
        self,
        cluster_id: int,
        *,
        move_to: int | None = None,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> EditResult:
        """Let a cluster not exist; its texts go to ``move_to``, or into none. See `curation.delete_cluster`."""
        return self._done(
            curation.delete_cluster(
                self._session, self._run_id, cluster_id, move_to=move_to, reason=reason, editor=editor, dry_run=dry_run
            )
        )

    def tag(
        self,
        cluster_id: int,
        *,
        coherence: int | None = None,
        quality: str | None = None,
        notes: str | None = None,
        editor: str | None = None,
    ) -> EditResult:
        """Note how good a cluster is; see `curation.tag_cluster`."""
        return self._done(
            curation.tag_cluster(
                self._session,
                self._run_id,
                cluster_id,
                coherence=coherence,
                quality=quality,
                notes=notes,
                editor=editor,
            )
        )

    def flag(self, cluster_id: int, flag: str, *, remove: bool = False, editor: str | None = None) -> EditResult:
        """Put a flag on a cluster, or take it off; see `curation.flag_cluster`."""
        return self._done(
            curation.flag_cluster(self._session, self._run_id, cluster_id, flag, remove=remove, editor=editor)
        )

    def undo(self, *, dry_run: bool = False) -> EditResult:
        """Take the newest edit back."""
        return self._done(curation.undo(self._session, self._run_id, dry_run=dry_run))

    def redo(self, *, dry_run: bool = False) -> EditResult:
        """Do again what was taken back last."""
        return self._done(curation.redo(self._session, self._run_id, dry_run=dry_run))

    def add_rule(
        self,
        *,
        matching: str | None = None,
        where: str | None = None,
        to_cluster: int | None = None,
        title: str | None = None,
        reason: str | None = None,
        editor: str | None = None,
        dry_run: bool = False,
    ) -> RuleResult:
        """Texts that match belong to a cluster, now, in new data and in new runs; see `rules.add_rule`.

        Args:
            matching: regular expression over the text, or instead of it
            where: SQL over the columns of a query.
        """
        condition = where if matching is None else rules.matching(matching)
        result = rules.add_rule(
            self._session,
            self._run_id,
            condition or "",
            to_cluster=to_cluster,
            title=title,
            reason=reason,
            editor=editor,
            dry_run=dry_run,
        )
        self._changed()
        return result

    def history(self, cluster_id: int | None = None) -> pl.DataFrame:
        """The edits of the run (or of one cluster), oldest first: id, kind, cluster_id, editor, reason, state, ..."""
        found = curation.history(self._session, self._run_id, cluster_id)
        names = ("id", "kind", "cluster_id", "editor", "reason", "created_at", "state")
        schema = {name: pl.Int64 if name in ("id", "cluster_id") else pl.String for name in names}
        return pl.DataFrame([[getattr(edit, name) for name in names] for edit in found], schema=schema, orient="row")

    def orphaned(self) -> pl.DataFrame:
        """Texts that an edit left in no cluster: query_id, text_id, text, n_queries, ..."""
        return selection.first_queries(self._session, curation.orphaned(self._session, self._run_id))

    def _done(self, result: EditResult) -> EditResult:
        self._changed()
        return result
