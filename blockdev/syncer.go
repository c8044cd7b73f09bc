package blockdev

// syncer makes what the rounds wrote durable in the backings and moves the
// journal's applied mark: after every SyncInterval, after SyncBytes, or when
// somebody waits. It runs beside the rounds, so that writers do not wait for the
// backings' disk, and a block that is written again and again reaches it once.
func (g *Group) syncer() {
	g.repeat(g.o.SyncInterval, g.syncNow, "sync disks", g.syncBackings)
}

func (g *Group) kickSyncer() { signal(g.syncNow) }

// syncBackings makes everything that was written before the call durable. Only
// one runs at a time.
func (g *Group) syncBackings() error {
	g.chunks.shrink()
	g.mu.Lock()
	upTo := g.written
	if upTo == g.applied {
		g.mu.Unlock()
		return nil
	}
	g.syncing, g.unsynced = g.unsynced, 0
	g.since.beginSync()
	g.mu.Unlock()
	for _, v := range g.volumes {
		if !v.disk.touched.Swap(false) {
			continue
		}
		if err := v.disk.backing.Sync(); err != nil {
			return err
		}
	}
	if err := g.j.SetApplied(upTo); err != nil {
		return err
	}
	g.mu.Lock()
	g.applied, g.syncing = upTo, 0
	g.since.synced()
	g.wake()
	g.mu.Unlock()
	return nil
}
