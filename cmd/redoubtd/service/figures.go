package service

import (
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// The figures of the rooms in the form of the schema.

func diskFigures(st blockdev.Stats, id redoubt.DiskID) *adminv1.DiskFigures {
	for _, d := range st.Disks {
		if d.Disk.ID != id {
			continue
		}
		return &adminv1.DiskFigures{
			Reads: d.Reads, ReadBytes: d.ReadBytes, SlowReads: d.SlowReads, Writes: d.Writes, WriteBytes: d.WriteBytes,
			Zeroes: d.Zeroes, ZeroBytes: d.ZeroBytes, Trims: d.Trims, TrimBytes: d.TrimBytes, Flushes: d.Flushes,
			Unaligned: d.Unaligned, Errors: d.Errors, AppliedBytes: d.AppliedBytes, Applies: d.Applies, Pieces: uint64(d.Pieces),
			ReadLatencyNs: admin.FromHistogram(d.ReadLatency), WriteLatencyNs: admin.FromHistogram(d.WriteLatency), FlushLatencyNs: admin.FromHistogram(d.FlushLatency),
		}
	}
	return nil
}

func groupFigures(st blockdev.Stats) *adminv1.GroupFigures {
	l := st.Lag
	return &adminv1.GroupFigures{
		UnappliedWrites: l.Records, UnappliedBytes: uint64(l.Bytes), UnappliedSeconds: l.Age.Seconds(),
		UnsyncedWrites: l.UnsyncedRecords, UnsyncedBytes: uint64(l.UnsyncedBytes), UnsyncedSeconds: l.UnsyncedAge.Seconds(),
		MemoryBytes: uint64(st.MemoryBytes), MemoryLimitBytes: uint64(st.MemoryLimit), ApplyRounds: st.Rounds, WaitingWriters: uint32(st.Waiting),
	}
}

func journalFigures(st journal.Stats, f journal.Figures) *adminv1.JournalFigures {
	return &adminv1.JournalFigures{
		Segments: uint64(st.Segments), Files: uint64(st.Files), Appends: uint64(st.Appends), Records: uint64(st.Records), Batches: uint64(st.Batches),
		SyncCalls: uint64(st.SyncCalls), FdatasyncNs: admin.FromHistogram(f.Fdatasync),
		CommitRecords: admin.FromHistogram(f.CommitRecords), CommitCallers: admin.FromHistogram(f.CommitCallers),
	}
}

func shipFigures(s ship.SenderStatus) *adminv1.ShipFigures {
	return &adminv1.ShipFigures{
		LagWrites: s.LagWrites, LagSeconds: s.LagTime.Seconds(), LinkBytesPerSecond: s.LinkRate, Codec: s.Codec.String(),
		InFlight: uint32(s.InFlight), Deltas: s.Deltas, Connects: s.Connects,
	}
}
