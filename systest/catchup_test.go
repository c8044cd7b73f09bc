package systest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
	"github.com/redoubt-dr/redoubt/systest/lan"
)

// farBed is an overflow bed whose source reaches the secondary over a network
// that can be cut and slowed. Host 0 is the source.
type farBed struct {
	*bed
	net *lan.LAN
}

func newFarBed(t *testing.T, mtu int) *farBed {
	t.Helper()
	if err := lan.Can(); err != nil {
		t.Skipf("no network namespaces here: %v (it needs root, ip and /dev/net/tun)", err)
	}
	o := site.Options{Targets: 3, JournalMax: "8MiB", Segment: "1MiB"}
	n, err := lan.New(4, mtu)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range 4 {
		o.Hosts = append(o.Hosts, site.Host{Addr: n.Host(i).Addr, In: n.Host(i).In()})
	}
	return &farBed{newBedOf(t, o), n}
}

// link says how frames get from the source to the targets and back.
func (f *farBed) link(w lan.Way) {
	for i := 1; i <= 3; i++ {
		f.net.Both(0, i, w)
	}
}

// away cuts the source off and makes changes until its journal has overflowed.
func (f *farBed) away(change func()) redoubt.Position {
	f.Helper()
	f.anchor()
	last := f.head()
	f.committed(last.LSN)
	f.link(lan.Way{Cut: true})
	// What is on its way may still arrive, and then nothing is given up for good.
	f.wait(f.site.Source, "the source to notice the cut", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetLink().GetConnected() {
			return fmt.Errorf("link %v", g.GetLink())
		}
		return nil
	})
	f.until(func() bool {
		change()
		_, g, err := f.site.Status(f.ctx, f.site.Source)
		f.must(err)
		return g.GetOverflow() != nil
	})
	f.anchor()
	return last
}

// catching waits until the secondary knows of the gap, and returns it.
func (f *farBed) catching() *adminv1.Gap {
	f.Helper()
	g := f.wait(f.site.Targets[0], "the catch-up to begin", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetGap() == nil || g.GetState() != "Resyncing" {
			return fmt.Errorf("state %s, gap %v", g.GetState(), g.GetGap())
		}
		return nil
	})
	return g.Gap
}

// slow is a link over which a catch-up takes several seconds, in bytes a second.
const slow = 1 << 20

// What goes over the wire for a catch-up is at most 1.05 times the bytes that
// are different, as the kernel counts it at the source's interface, all headers
// of all protocols included. The data does not compress; half of it is written twice.
func TestBytesOfTheCatchUp(t *testing.T) {
	for name, unit := range map[string]uint64{"4 KiB at random": 4 << 10, "in a row": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			f := newFarBed(t, 9000)
			c := f.clients()[1]
			size := f.disks[0].Size
			src := rand.NewChaCha8([32]byte{byte(f.seed), byte(f.seed >> 8), byte(f.seed >> 16)})
			buf, at := make([]byte, unit), f.rng.Uint64N(size/unit)
			last := f.away(func() {
				for i := range 2 << 20 / unit {
					if at++; unit == 4<<10 {
						at = f.rng.Uint64()
					}
					for range 1 + i%2 {
						src.Read(buf)
						f.must(c.Write(buf, at%(size/unit)*unit, false))
					}
				}
			})
			changed := oracle.UniqueBytes(f.model.Changes(1, last.LSN, f.head().LSN))
			before, err := f.net.Host(0).Count()
			f.must(err)
			_, g, err := f.site.Status(f.ctx, f.site.Source)
			f.must(err)
			shipped := g.GetLink().GetWireBytes()
			f.link(lan.Way{})
			f.caughtUp()
			after, err := f.net.Host(0).Count()
			f.must(err)
			_, g, err = f.site.Status(f.ctx, f.site.Source)
			f.must(err)
			shipped = g.GetLink().GetWireBytes() - shipped
			wire := after.Sent - before.Sent
			t.Logf("%d bytes differ; deltas of %d bytes (%.4f x); the kernel counted %d in %d frames (%.4f x)", changed,
				shipped, float64(shipped)/float64(changed), wire, after.FramesSent-before.FramesSent, float64(wire)/float64(changed))
			if limit := changed + changed/20; wire > limit || shipped > limit {
				t.Error("more than 1.05 x what differs was shipped")
			}
			if shipped < changed {
				t.Error("less was shipped than differs: the test does not count what it thinks")
			}
			f.gapOnly(f.site.Targets[0], last)
			f.judgePoint(f.site.Targets[0], last)
			f.judgePoint(f.site.Targets[1], f.head())
		})
	}
}

// A catch-up whose source is killed in the middle does not begin anew: what had
// arrived is not shipped again.
func TestCatchUpResumes(t *testing.T) {
	f := newFarBed(t, 9000)
	c := f.clients()[1]
	src, buf, block := rand.NewChaCha8([32]byte{byte(f.seed)}), make([]byte, 64<<10), uint64(0)
	const changed = 16 << 20
	last := f.away(func() {
		for ; block < changed/uint64(len(buf)); block++ {
			src.Read(buf)
			f.must(c.Write(buf, block*uint64(len(buf)), false))
		}
	})
	before, err := f.net.Host(0).Count()
	f.must(err)
	f.link(lan.Way{Rate: 2 * slow})
	f.until(func() bool { // about half
		n, err := f.net.Host(0).Count()
		f.must(err)
		return n.Sent-before.Sent > changed*5/8
	})
	f.site.Source.Kill()
	f.must(f.site.Source.Start())
	f.serving()
	f.relay.Resume()
	f.caughtUp()
	after, err := f.net.Host(0).Count()
	f.must(err)
	sent := after.Sent - before.Sent
	t.Logf("%d bytes differ, %d went over the wire with a kill in the middle", changed, sent)
	// A delta of 4 MiB may have been on its way, and what the way holds.
	if limit := uint64(changed + changed/20 + 5<<20); sent > limit {
		t.Errorf("more than %d: it began anew", limit)
	}
	f.gapOnly(f.site.Targets[2], last)
	f.judgePoint(f.site.Targets[0], f.head())
}

// The link is cut, and either side killed, again and again while the catch-up
// is under way and clients write: it goes on where it was, and ends.
func TestCatchUpGoesOn(t *testing.T) {
	f := newFarBed(t, 9000)
	f.change(200)
	last := f.away(func() { f.change(40) })
	for i := range sized(6, 3) {
		f.link(lan.Way{Rate: slow})
		f.catching()
		stop := f.background()
		f.nap(1500)
		f.must(stop())
		switch i % 3 {
		case 0:
			f.link(lan.Way{Cut: true})
		case 1:
			f.site.Source.Kill()
			f.must(f.site.Source.Start())
			f.serving()
			f.relay.Resume()
		case 2:
			victim := f.site.Targets[f.rng.IntN(3)]
			victim.Kill()
			f.must(victim.Start())
		}
	}
	f.link(lan.Way{})
	f.caughtUp()
	f.judgePoint(f.site.Targets[0], last)
	f.judgePoint(f.site.Targets[1], f.head())
	f.judgeSource()
}

// A failover while the catch-up is under way takes the last whole point, and
// says so; a planned one is refused. Cancelled, the source goes on with what it
// has, and the catch-up comes to its end.
func TestFailoverDuringCatchUp(t *testing.T) {
	f := newFarBed(t, 9000)
	f.change(200)
	f.anchor()
	early := f.head()
	f.change(50)
	last := f.away(func() { f.change(40) })
	f.link(lan.Way{Rate: slow / 16}) // it goes on while points are judged, also on a busy machine
	gap := f.catching()
	if gap.AfterLsn != uint64(last.LSN) {
		t.Fatalf("the gap is after %d, want %s", gap.AfterLsn, last)
	}
	at := f.site.Targets[1]
	f.judgePoint(at, early)
	f.judgePoint(f.site.Targets[2], last)
	f.noPoint(at, redoubt.Position{Epoch: 1, LSN: last.LSN + 1}.String())
	if err := f.site.Call(f.ctx, at, nil, "failover", "planned", groupName); err == nil {
		t.Fatal("a planned failover into a gap was carried out")
	}
	r := &adminv1.UnplannedFailoverResponse{}
	f.must(f.site.Call(f.ctx, at, r, "failover", "unplanned", groupName))
	if got := r.Promotion.Position; got.Epoch != 1 || got.Lsn != uint64(last.LSN) {
		t.Fatalf("promoted %v, want %s", got, last)
	}
	f.judge(r.Export.Disks, last)
	f.link(lan.Way{})
	f.fenced()
	receipt := &adminv1.GetLossReceiptResponse{}
	f.must(f.site.Call(f.ctx, f.site.Source, receipt, "failover", "receipt", groupName))
	f.honest(receipt.Receipt, last)
	f.must(f.site.Call(f.ctx, at, nil, "failover", "cancel", groupName))
	f.writable(3)
	f.wait(f.site.Source, "the end of the gap at the source", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetOverflow() != nil || g.GetState() != "Protected" || g.GetCommitted().GetLsn() != g.GetHead().GetLsn() {
			return fmt.Errorf("state %s, overflow %v, link %v", g.GetState(), g.GetOverflow(), g.GetLink())
		}
		return nil
	})
	_, g, err := f.site.Status(f.ctx, f.site.Source)
	f.must(err)
	f.judge(g.Disks, f.head())
	head := redoubt.Position{Epoch: 3, LSN: redoubt.LSN(g.Head.Lsn)}
	x := &adminv1.TestFailoverResponse{}
	f.must(f.site.Call(f.ctx, f.site.Targets[0], x, "failover", "test", groupName, "--at", head.String()))
	f.judge(x.Export.Disks, f.head()) // the copies changed nothing
	f.judgePoint(at, last)
}

// honest checks a receipt after an overflow: every change that was lost lies
// within the extents that it names.
func (f *farBed) honest(r *adminv1.LossReceipt, last redoubt.Position) {
	f.Helper()
	if r.GivenUp == 0 || r.Fork.Lsn != uint64(last.LSN) {
		text, _ := json.Marshal(r)
		f.Fatalf("receipt %s", text)
	}
	for _, c := range f.model.Changes(1, last.LSN, f.head().LSN) {
		named := uint64(0)
		for _, d := range r.Disks {
			for _, e := range d.Extents {
				if d.Disk == uint32(c.Disk) {
					named += redoubt.Extent{Off: e.Off, Len: e.Len}.Intersect(c.Extent).Len
				}
			}
		}
		if named != c.Extent.Len {
			f.Fatalf("the lost change %s %s of disk %d is not in the receipt", c.Position, c.Extent, c.Disk)
		}
	}
}

// The way back after an overflow: what the old primary changed in the gap is
// overwritten, although its journal does not know the single writes any more.
func TestWayBackAfterOverflow(t *testing.T) {
	f := newFarBed(t, 9000)
	f.change(200)
	last := f.away(func() { f.change(40) })
	f.link(lan.Way{Rate: slow / 2})
	f.catching()
	f.nap(1500) // some of it arrives
	f.site.Source.Kill()
	prod := f.site.Targets[1]
	up := f.failover(prod, last)
	relay := f.use(2, up)
	f.overwrite(relay, 200)
	f.must(f.site.Call(f.ctx, prod, nil, "failover", "commit", groupName))
	f.link(lan.Way{})
	f.must(f.site.Source.Start())
	f.fenced()
	f.reverse(prod)
	f.wait(prod, "the old primary in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReverse().GetInSync() {
			return fmt.Errorf("%v", g.GetReverse())
		}
		return nil
	})
	r := &adminv1.FailbackResponse{}
	f.must(f.site.Call(f.ctx, prod, r, "failback", groupName))
	end := redoubt.Position{Epoch: redoubt.Epoch(r.Position.Epoch), LSN: redoubt.LSN(r.Position.Lsn)}
	if drift, err := f.model.Anchor(end.Epoch, end.LSN); err != nil {
		t.Fatalf("drift %d: %v", drift, err)
	}
	f.writable(redoubt.Epoch(r.Epoch))
	_, sg, err := f.site.Status(f.ctx, f.site.Source)
	f.must(err)
	f.judge(sg.Disks, end)
	f.judgePoint(prod, end)
	f.judgePoint(prod, last)
}
