//! Streams, users, sanctions, reviews and the audit log.

use super::*;

#[async_trait]
impl MetadataStore for InMemoryMetadata {
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("create_stream")?;
        let stream_id = match new.stream_id {
            Some(chosen) => chosen,
            None => tables.next_stream_id()?,
        };
        let is_taken = tables.streams.contains_key(&stream_id);
        if is_taken || tables.deleted_streams.contains(&stream_id) {
            return Err(StoreError::Exists("stream"));
        }
        let stream = new.begin(stream_id, audit.at);
        tables.streams.insert(stream_id, stream.clone());
        Ok((tables.record(audit.of_stream(stream_id)), stream))
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("update_stream")?;
        let stream = tables.known_stream(stream_id)?;
        stream.apply(patch, audit.at);
        let stream = stream.clone();
        Ok((tables.record(audit), stream))
    }

    async fn start_due_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<Option<(u64, Stream)>, StoreError> {
        let mut tables = self.call("start_due_stream")?;
        let due = tables.streams.get_mut(&stream_id).filter(|stream| stream.is_due(audit.at));
        let Some(stream) = due else { return Ok(None) };
        stream.apply(StreamPatch::start(), audit.at);
        let stream = stream.clone();
        Ok(Some((tables.record(audit), stream)))
    }

    async fn delete_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("delete_stream")?;
        let deleted = tables.streams.remove(&stream_id).ok_or(StoreError::NotFound("stream"))?;
        tables.deleted_streams.insert(stream_id);
        tables.overrides.remove(&stream_id);
        Ok((tables.record(audit), deleted))
    }

    async fn update_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("update_room")?;
        let stream = tables.known_stream(stream_id)?;
        let audit = audit.with_before(&stream.room);
        stream.room.apply(patch);
        let stream = stream.clone();
        Ok((tables.record(audit), stream))
    }

    async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        audit: NewAudit,
    ) -> Result<ChangedTerms, StoreError> {
        let mut tables = self.call("change_terms")?;
        tables.known_stream(stream_id)?;
        let stored = tables.terms.get(&stream_id).into_iter().flatten();
        let change = terms_after(stored.map(|term| (stream_id, term.clone())).collect(), patch)?;
        let audit_id = tables.record(audit.with_before(&change.before));
        tables.terms.insert(stream_id, change.after.clone());
        *tables.terms_versions.entry(stream_id).or_default() += 1;
        Ok(ChangedTerms { audit_id, terms: change.after })
    }

    async fn room_terms(
        &self,
        rooms: &[StreamId],
    ) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
        let tables = self.call("room_terms")?;
        let of_stream = |(stream_id, terms): (&StreamId, &Vec<RoomTerm>)| {
            let stream_id = *stream_id;
            terms.iter().map(move |term| (stream_id, term.clone())).collect::<Vec<_>>()
        };
        let named = tables.terms.iter().filter(|(stream_id, _)| rooms.contains(stream_id));
        Ok(named.flat_map(of_stream).collect())
    }

    async fn terms_versions(&self) -> Result<Vec<(StreamId, u64)>, StoreError> {
        let tables = self.call("terms_versions")?;
        Ok(tables
            .terms_versions
            .iter()
            .map(|(stream_id, version)| (*stream_id, *version))
            .collect())
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        Ok(self.call("stream")?.streams.get(&stream_id).cloned())
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        let streams = self.call("streams")?.streams.values().cloned().collect();
        let wait = *self.streams_wait.lock();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(streams)
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
        let tables = self.call("throttle_overrides")?;
        Ok(tables.overrides.iter().map(|(stream_id, fixed)| (*stream_id, *fixed)).collect())
    }

    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut tables = self.call("set_throttle_override")?;
        tables.known_stream(stream_id)?;
        match fixed {
            Some(fixed) => tables.overrides.insert(stream_id, fixed),
            None => tables.overrides.remove(&stream_id),
        };
        Ok(tables.record(audit))
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        let mut tables = self.call("remember_users")?;
        for user in users {
            let known = tables.users.entry(user.user_id).or_insert_with(|| user.clone());
            if user.seen_at >= known.seen_at {
                let account_created = user.account_created.or(known.account_created);
                *known = UserRecord { account_created, ..user.clone() };
            }
        }
        Ok(())
    }

    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.call("user")?.users.get(&user_id).cloned())
    }

    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        let tables = self.call("users_named")?;
        let named = tables.users.values().filter(|user| &*user.name == name);
        let mut named: Vec<_> = named.cloned().collect();
        named.sort_by_key(|user| (std::cmp::Reverse(user.seen_at), user.user_id));
        named.truncate(MAX_USERS_NAMED);
        Ok(named)
    }

    async fn id_of_subject(&self, subject: &Subject, _: u64) -> Result<UserId, StoreError> {
        let mut tables = self.call("id_of_subject")?;
        let key = (subject.issuer().to_owned(), subject.name().to_owned());
        if let Some(user_id) = tables.subjects.get(&key) {
            return Ok(*user_id);
        }
        let is_free = |candidate: &UserId| tables.subjects.values().all(|taken| taken != candidate);
        let free = subject.candidates().find(is_free).ok_or(NO_FREE_ID)?;
        tables.subjects.insert(key, free);
        Ok(free)
    }

    async fn put_sanctions(
        &self,
        sanctions: &[Sanction],
        audit: NewAudit,
    ) -> Result<PutSanctions, StoreError> {
        // Before the first change, so that a failure leaves nothing.
        for sanction in sanctions {
            drop(self.call(sanction.kind.as_str())?);
        }
        let mut tables = self.lock();
        tables.sweep_sanctions(audit.at);
        let mut replaced = Vec::new();
        for sanction in sanctions {
            let key = |it: &Sanction| (it.user_id, it.kind, it.stream_id);
            let same = tables.sanctions.extract_if(.., |it| key(it) == key(sanction));
            replaced.extend(same.filter(|it| is_in_force(it, audit.at)));
            tables.sanctions.push(sanction.clone());
        }
        let audit_id = tables.record(audit.replacing_sanctions(&replaced));
        Ok(PutSanctions { audit_id, replaced })
    }

    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut tables = self.call("lift")?;
        tables.sweep_sanctions(audit.at);
        let is_named = |it: &Sanction| kinds.contains(&it.kind) && streams.contains(&it.stream_id);
        let is_lifted =
            |it: &mut Sanction| it.user_id == user_id && is_named(it) && is_in_force(it, audit.at);
        let lifted: Vec<_> = tables.sanctions.extract_if(.., is_lifted).collect();
        if lifted.is_empty() {
            return Err(StoreError::NotFound("sanction in force on this user"));
        }
        Ok(tables.record(audit.lifting(lifted)))
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        let tables = self.call("sanctions")?;
        let in_force = tables.sanctions.iter().filter(|sanction| is_in_force(sanction, now_ms));
        let mut in_force: Vec<_> = in_force.cloned().collect();
        in_force.sort_by_key(|it| {
            let newest_first = std::cmp::Reverse((it.created_at, it.user_id));
            (newest_first, it.kind.as_str(), it.stream_id)
        });
        Ok(in_force)
    }

    async fn put_shadows(&self, shadows: &[Shadow], audit: NewAudit) -> Result<u64, StoreError> {
        let mut tables = self.call("put_shadows")?;
        for new in shadows {
            tables.shadows.retain(|s| (s.user_id, s.stream_id) != (new.user_id, new.stream_id));
            tables.shadows.push(new.clone());
        }
        Ok(tables.record(audit))
    }

    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut tables = self.call("lift_shadows")?;
        let before = tables.shadows.len();
        tables.shadows.retain(|s| {
            s.user_id != user_id || !streams.contains(&s.stream_id) || !s.is_in_force(audit.at)
        });
        if tables.shadows.len() == before {
            return Err(StoreError::NotFound("shadow in force on this user"));
        }
        Ok(tables.record(audit))
    }

    async fn shadows(&self, now_ms: u64) -> Result<Vec<Shadow>, StoreError> {
        let tables = self.call("shadows")?;
        let mut in_force: Vec<_> =
            tables.shadows.iter().filter(|shadow| shadow.is_in_force(now_ms)).cloned().collect();
        in_force.sort_by_key(|s| (std::cmp::Reverse((s.created_at, s.user_id)), s.stream_id));
        Ok(in_force)
    }

    async fn put_grant(&self, grant: &Grant, audit: NewAudit) -> Result<u64, StoreError> {
        let mut tables = self.call("put_grant")?;
        let replaced = tables.take_grant(grant.user_id, grant.stream_id);
        tables.grants.push(grant.clone());
        Ok(tables.record(audit.replacing_grant(replaced.as_ref())))
    }

    async fn revoke_grant(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut tables = self.call("revoke_grant")?;
        let revoked = tables.take_grant(user_id, stream_id);
        let revoked = revoked.ok_or(StoreError::NotFound("role given on this stream"))?;
        Ok(tables.record(audit.with_field(REVOKED, &revoked)))
    }

    async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        let mut grants = self.call("grants")?.grants.clone();
        grants.sort_by_key(|it| (std::cmp::Reverse((it.created_at, it.user_id)), it.stream_id));
        Ok(grants)
    }

    async fn count_points(
        &self,
        changes: &[UserPointChange],
        half_life_ms: u64,
    ) -> Result<(), StoreError> {
        let wait = *self.point_wait.lock();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut tables = self.call("count_points")?;
        changes.iter().for_each(|change| tables.change_points(change, half_life_ms));
        let now_ms = changes.iter().map(|one| one.change.at).max().unwrap_or(0);
        let swept_ms = now_ms.saturating_sub(half_life_ms.saturating_mul(KEPT_HALF_LIVES));
        tables.causes.retain(|_, cause| cause.at >= swept_ms);
        tables.reputations.retain(|_, reputation| reputation.at >= swept_ms);
        Ok(())
    }

    async fn known_users(&self, users: &[UserId]) -> Result<Vec<KnownUser>, StoreError> {
        let tables = self.call("known_users")?;
        let known = |user_id: &UserId| {
            let user = tables.users.get(user_id);
            let reputation = tables.reputations.get(user_id);
            (user.is_some() || reputation.is_some()).then(|| KnownUser {
                user_id: *user_id,
                is_recorded: user.is_some(),
                account_created: user.and_then(|user| user.account_created),
                reputation: reputation.cloned().unwrap_or_default(),
            })
        };
        Ok(users.iter().filter_map(known).collect())
    }

    async fn queue_reviews(&self, new: &[NewReview]) -> Result<(), StoreError> {
        let wait = *self.review_wait.lock();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut tables = self.call("queue_reviews")?;
        if new.iter().any(|new| self.refuses(new)) {
            return Err(StoreError::Corrupt("a text that is refused".to_owned()));
        }
        for NewReview { item, text_key } in new {
            if tables.review_of(item.comment_id).is_err() {
                let verdict = tables.withdrawn.remove(&item.comment_id.sort_key());
                tables.reviews.push((StoredReview { item: item.clone(), verdict }, *text_key));
            }
        }
        Ok(())
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        let mut waiting = self.call("review_queue")?.waiting();
        waiting.truncate(limit);
        Ok(waiting)
    }

    async fn review_queue_of(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        let mut waiting = self.call("review_queue_of")?.waiting();
        waiting.retain(|item| item.stream_id == stream_id);
        waiting.truncate(limit);
        Ok(waiting)
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        Ok(self.call("review_count")?.waiting().len() as u64)
    }

    async fn held_count(&self, scope: HeldScope) -> Result<u64, StoreError> {
        let HeldScope { user_id, stream_id, since_ms } = scope;
        let is_meant = |item: &&ReviewItem| {
            item.held
                && item.comment_id.unix_ms() >= since_ms
                && user_id.is_none_or(|only| only == item.user_id)
                && stream_id.is_none_or(|only| only == item.stream_id)
        };
        let waiting = self.call("held_count")?.waiting();
        Ok(waiting.iter().filter(is_meant).count() as u64)
    }

    async fn claim_review(&self, claim: NewClaim<'_>) -> Result<ReviewItem, ReviewError> {
        let NewClaim { comment_id, by, now_ms, expires_at } = claim;
        let mut tables = self.call("claim_review")?;
        let review = tables.review(comment_id, by, now_ms)?;
        review.item.claimed_by = expires_at.map(|_| by.to_owned());
        review.item.claim_expires_at = expires_at;
        Ok(review.item.clone())
    }

    async fn decide_review(
        &self,
        new: NewVerdict<'_>,
        event: EventOfReview<'_>,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), ReviewError> {
        let mut tables = self.call("decide_review")?;
        let at = audit.at;
        let review = tables.review_of(new.comment_id)?;
        review.check_verdict(&new, &audit.actor, at)?;
        let mut decided = review.clone();
        if new.as_author {
            decided.check_author(tables.standing(&decided.item, at))?;
        }
        let decision = new.decision;
        let reason = new.reason.map(str::to_owned);
        let by = audit.actor.clone();
        let review = tables.review_of(new.comment_id)?;
        review.verdict = Some(ReviewVerdict { decision, by, at, reason });
        let item = decided.item;
        let number = tables.record(audit.of_author(&item));
        if let Some(event) = event(&item) {
            tables.events.insert(number, (at, event));
        }
        Ok((number, item))
    }

    async fn reopen_review(
        &self,
        comment_id: CommentId,
        event: Option<PendingEvent>,
        audit: NewAudit,
    ) -> Result<u64, ReviewError> {
        let mut tables = self.call("reopen_review")?;
        let review = tables.review_of(comment_id)?;
        review.verdict.take().ok_or(ReviewRefusal::NotDecided)?;
        review.item.claimed_by = None;
        review.item.claim_expires_at = None;
        review.item.reason = reopened_reason(&review.item).to_owned();
        let at = audit.at;
        tables.reopened.insert(comment_id.sort_key(), at);
        let number = tables.record(audit);
        tables.events.extend(event.map(|event| (number, (at, event))));
        Ok(number)
    }

    async fn decided_review(
        &self,
        comment_id: CommentId,
    ) -> Result<Option<DecidedReview>, StoreError> {
        let tables = self.call("decided_review")?;
        Ok(tables.decided().find(|review| review.item.comment_id == comment_id))
    }

    async fn is_event_pending(&self, number: u64) -> Result<bool, StoreError> {
        Ok(self.call("is_event_pending")?.events.contains_key(&number))
    }

    async fn decided_reviews(
        &self,
        before_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DecidedReview>, StoreError> {
        let tables = self.call("decided_reviews")?;
        let is_listed =
            |review: &DecidedReview| review.verdict.reason.as_deref() != Some(WITHDRAWN);
        let decided = tables.decided().filter(is_listed);
        let earlier =
            |review: &DecidedReview| before_ms.is_none_or(|before| review.verdict.at < before);
        let mut decided: Vec<_> = decided.filter(earlier).collect();
        let key = |review: &DecidedReview| (review.verdict.at, review.item.comment_id.sort_key());
        decided.sort_by_key(|review| std::cmp::Reverse(key(review)));
        decided.truncate(limit);
        Ok(decided)
    }

    async fn held_reviews(
        &self,
        which: HeldReviews,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        let tables = self.call("held_reviews")?;
        let mut held = tables.waiting();
        let waits_since = |item: &ReviewItem| {
            let reopened = tables.reopened.get(&item.comment_id.sort_key());
            reopened.copied().unwrap_or(item.flagged_at)
        };
        match which {
            HeldReviews::Unchecked { after } => {
                let after = after.map(CommentId::sort_key);
                let is_behind = |item: &ReviewItem| Some(item.comment_id.sort_key()) > after;
                held.retain(|item| item.held && item.reason == UNCHECKED && is_behind(item));
                held.sort_by_key(|item| item.comment_id.sort_key());
            }
            HeldReviews::WaitingSince(at) => {
                held.retain(|item| item.held && waits_since(item) < at);
                held.sort_by_key(|item| (waits_since(item), item.comment_id.sort_key()));
            }
        }
        held.truncate(limit);
        held.iter_mut().for_each(|item| item.alike = 0);
        Ok(held)
    }

    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, StoreError> {
        let mut tables = self.call("set_review_reason")?;
        let Ok(review) = tables.review_of(new.comment_id) else { return Ok(false) };
        let is_expected = review.verdict.is_none() && review.item.reason == new.expected;
        if is_expected {
            review.item.reason = new.reason.to_owned();
            if *new.evidence != ReviewEvidence::default() {
                review.item.evidence = new.evidence.clone();
            }
        }
        Ok(is_expected)
    }

    async fn has_pending_event(&self, stream_id: StreamId) -> Result<bool, StoreError> {
        let tables = self.call("has_pending_event")?;
        Ok(tables.events.values().any(|(_, event)| event.stream_id == stream_id))
    }

    async fn save_view(&self, view: SavedView, audit: NewAudit) -> Result<u64, StoreError> {
        let mut tables = self.call("save_view")?;
        if tables.views.len() >= MAX_SAVED_VIEWS && !tables.views.contains_key(&view.name) {
            return Err(StoreError::Full("saved view"));
        }
        tables.views.insert(view.name.clone(), view);
        Ok(tables.record(audit))
    }

    async fn forget_view(&self, name: &str, audit: NewAudit) -> Result<u64, StoreError> {
        let mut tables = self.call("forget_view")?;
        tables.views.remove(name).ok_or(StoreError::NotFound("saved view"))?;
        Ok(tables.record(audit))
    }

    async fn saved_views(&self) -> Result<Vec<SavedView>, StoreError> {
        Ok(self.call("saved_views")?.views.values().cloned().collect())
    }

    async fn audit_with_event(
        &self,
        event: PendingEvent,
        review: Option<ReviewChange>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut tables = self.call("audit_with_event")?;
        let at = audit.at;
        if let Some(change) = review {
            tables.change_review(change, &audit);
        }
        let number = tables.record(audit);
        tables.events.insert(number, (at, event));
        Ok(number)
    }

    async fn claim_events(
        &self,
        now_ms: u64,
        pause_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
        let mut tables = self.call("claim_events")?;
        let due = tables.events.iter_mut().filter(|(_, (at, _))| *at + pause_ms <= now_ms);
        let claim = |(number, (at, event)): (&u64, &mut (u64, PendingEvent))| {
            *at = now_ms;
            (*number, event.clone())
        };
        Ok(due.take(limit).map(claim).collect())
    }

    async fn event_published(&self, number: u64) -> Result<(), StoreError> {
        self.call("event_published")?.events.remove(&number);
        Ok(())
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        Ok(self.call("audit")?.record(audit))
    }

    async fn audit_entry(&self, audit_id: u64) -> Result<Option<AuditEntry>, StoreError> {
        let tables = self.call("audit_entry")?;
        Ok(tables.audit.iter().find(|entry| entry.audit_id == audit_id).cloned())
    }

    async fn audit_about(&self, target: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let tables = self.call("audit_about")?;
        let about = tables.audit.iter().rev().filter(|entry| entry.target == target);
        Ok(about.take(limit).cloned().collect())
    }

    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.call("audit_log")?.audit.iter().rev().take(limit).cloned().collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping").map(drop)
    }
}
