package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
)

// PointSink takes a disk that ReadDisk reads. Data comes by rising offset and
// without overlaps; what is left out is zeros.
type PointSink interface {
	Begin(h *adminv1.PointHeader) error
	Data(off uint64, b []byte) error
}

// ReadDisk streams a disk at a point into sink, and checks that what arrives
// is what the node has verified, whole and in order. silence bounds the wait
// for each message; 0: no bound.
func (c *Client) ReadDisk(ctx context.Context, r *adminv1.ReadPointRequest, silence time.Duration, sink PointSink) error {
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alarm := time.AfterFunc(time.Hour, cancel)
	defer alarm.Stop()
	heard := func() { alarm.Stop() }
	if silence > 0 {
		heard = func() { alarm.Reset(silence) }
	}
	heard()
	fail := func(err error) error {
		if ctx.Err() != nil && caller.Err() == nil {
			return &redoubt.Error{Op: "read point", Object: c.target, Err: fmt.Errorf("no data for %s: %w", silence, redoubt.ErrUnavailable),
				Hint: "look at the node with redoubt status; --timeout bounds the wait"}
		}
		return FromConnect(c.target, adminv1connect.AdminServiceReadPointProcedure, err)
	}
	st, err := c.ReadPoint(ctx, r)
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	p := pointReader{sink: sink}
	for !p.ended && st.Receive() {
		if err := p.message(st.Msg()); err != nil {
			return err
		}
		heard()
	}
	if err := st.Err(); err != nil {
		return fail(err)
	}
	if !p.ended {
		return corruptStream("it ends early")
	}
	return nil
}

// pointReader checks the order of a stream's messages.
type pointReader struct {
	sink  PointSink
	head  *adminv1.PointHeader
	at    uint64 // end of the last data
	total uint64
	ended bool
}

func corruptStream(why string) error {
	return &redoubt.Error{Op: "read point", Err: fmt.Errorf("the stream of data is damaged: %s: %w", why, redoubt.ErrCorrupt), Hint: "try again"}
}

func (p *pointReader) message(m *adminv1.ReadPointResponse) error {
	switch part := m.GetPart().(type) {
	case *adminv1.ReadPointResponse_Header:
		if p.head != nil || part.Header.GetSize() > redoubt.MaxDiskSize {
			return corruptStream("a second header")
		}
		p.head = part.Header
		return p.sink.Begin(p.head)
	case *adminv1.ReadPointResponse_Data:
		d := part.Data
		e := redoubt.Extent{Off: d.GetOff(), Len: uint64(len(d.GetData()))}
		switch {
		case p.head == nil || e.Off < p.at || !e.Within(p.head.GetSize()):
			return corruptStream(fmt.Sprintf("data at %s after %d", e, p.at))
		case redoubt.Checksum(d.GetData()) != d.GetCrc32C():
			return corruptStream("checksum at " + e.String())
		}
		p.at, p.total = e.End(), p.total+e.Len
		return p.sink.Data(e.Off, d.GetData())
	case *adminv1.ReadPointResponse_End:
		if p.head == nil || part.End.GetDataBytes() != p.total {
			return corruptStream(fmt.Sprintf("%d bytes of %d", p.total, part.End.GetDataBytes()))
		}
		p.ended = true
		return nil
	}
	return corruptStream("a message of an unknown kind")
}
