package shards

import (
	"errors"
	"syscall"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// noticeRot has a shard that was found rotten, or that the disk cannot read,
// built again. It is forgotten at once: a rotten shard is as good as none.
func (s *Site) noticeRot(id segment.ID, err error) {
	if !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, syscall.EIO) {
		return
	}
	s.ForgetRotten(id, err)
}

// ForgetRotten forgets a shard of this node that was found rotten, for the reason
// err, and has it built again.
func (s *Site) ForgetRotten(id segment.ID, err error) {
	s.o.Logger.Error("stored shard is rotten; it is rebuilt from the others", "shard", id.String(), "err", err)
	s.rotten.Add(1)
	if err := s.o.Rotten(id, func() error { return s.o.Log.Forget(id) }); err != nil {
		s.o.Logger.Error("rotten shard not forgotten; it is served to nobody, but not rebuilt yet", "shard", id.String(), "err", err)
	}
}
