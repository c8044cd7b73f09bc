package admin

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
)

// ReadBranch calls fn with the writes of a branch that a source keeps, in
// order. It checks that each is what its client once sent, and that none is
// missing at the end.
func (c *Client) ReadBranch(ctx context.Context, group redoubt.GroupID, id string, fn func([]redoubt.Write) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fail := func(err error) error {
		return FromConnect(c.target, adminv1connect.AdminServiceStreamBranchProcedure, err)
	}
	st, err := c.StreamBranch(ctx, &adminv1.StreamBranchRequest{Group: string(group), Id: id})
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	for st.Receive() {
		m := st.Msg()
		if m.GetEnd() {
			return nil
		}
		ws, err := toWrites(m.GetWrites())
		if err != nil {
			return err
		}
		if err := fn(ws); err != nil {
			return err
		}
	}
	if err := st.Err(); err != nil {
		return fail(err)
	}
	return corruptBranch("it ends early")
}

func toWrites(in []*adminv1.BranchWrite) ([]redoubt.Write, error) {
	out := make([]redoubt.Write, len(in))
	for i, m := range in {
		w := redoubt.Write{LSN: redoubt.LSN(m.GetLsn()), Time: m.GetTime(), Disk: redoubt.DiskID(m.GetDisk()), Kind: redoubt.Kind(m.GetKind()),
			Extent: redoubt.Extent{Off: m.GetOff(), Len: m.GetLen()}, Data: m.GetData(), CRC: m.GetCrc32C()}
		if len(w.Data) == 0 {
			w.Data = nil
		}
		if !w.Kind.Valid() || w.Data != nil && redoubt.Checksum(w.Data) != w.CRC {
			return nil, corruptBranch(fmt.Sprintf("write %d", w.LSN))
		}
		out[i] = w
	}
	return out, nil
}

func corruptBranch(why string) error {
	return &redoubt.Error{Op: "read branch", Err: fmt.Errorf("the stream of writes is damaged: %s: %w", why, redoubt.ErrCorrupt), Hint: "try again; redoubt journal verify reads the branch's folder at the source"}
}
