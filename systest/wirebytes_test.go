package systest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
	"github.com/redoubt-dr/redoubt/systest/lan"
)

// perFrame is what Ethernet, IP and TCP add to a full frame: 14 + 20 + 32 bytes.
const perFrame = 66

// B3: what goes over the wire for a failback is at most 1.05 times the
// different bytes of both sides, as the kernel counts it at the old primary's
// interface: with all headers in frames of 9000 bytes, and without those of
// Ethernet, IP and TCP, which alone are 4.6 %, in frames of 1500. The data does
// not compress, and each block is written several times. `make wirebytes`.
func TestBytesOnTheWire(t *testing.T) {
	mib := uint64(sized(16, 4))
	if *judgeRounds > 0 {
		mib = uint64(*judgeRounds)
	}
	for _, mtu := range []int{9000, 1500} {
		for _, random := range []bool{true, false} {
			name := fmt.Sprintf("frames of %d, %s", mtu, map[bool]string{true: "4 KiB at random", false: "in a row"}[random])
			t.Run(name, func(t *testing.T) { wireBytes(t, mtu, random, mib<<20) })
		}
	}
}

func wireBytes(t *testing.T, mtu int, random bool, changed uint64) {
	o := site.Options{}
	n := newLAN(t, &o, mtu, 0)
	c := &cycle{net: n, bed: newBedWith(t, o, oracle.DefaultMix(), redoubt.Disk{ID: 1, Name: "a", Size: 4 * changed}), epoch: 1}
	x := changeSet{rng: rand.NewChaCha8(seedKey(c.seed)), random: random, size: 4 * changed, most: changed}
	x.fill(c) // or zeros, which cost nothing, would be among what differs
	x.apply(c, c.relay)
	c.anchorAt(c.site.Source, c.relay, false)
	c.committed(c.head().LSN)
	c.fromSource(lan.Way{Cut: true})
	x.apply(c, c.relay) // what only the old primary has
	c.site.Source.Kill()
	prod := c.site.Targets[c.rng.IntN(3)]
	r := &adminv1.UnplannedFailoverResponse{}
	c.must(c.site.Call(c.ctx, prod, r, "failover", "unplanned", groupName))
	p, e := at(r.Promotion.Position), redoubt.Epoch(r.Promotion.Epoch)
	c.must(c.model.Fork(e, p))
	there := c.attach(e, r.Export.Disks)
	x.apply(c, there) // what only the new one has
	c.must(c.site.Call(c.ctx, prod, nil, "failover", "commit", groupName))
	c.net.Heal()
	c.must(c.site.Source.Start())
	c.fenced()
	lost := c.exactReceipt(p)
	differs := oracle.UniqueBytes(slices.Concat(lost, c.model.Changes(e, 0, ^redoubt.LSN(0))))

	before, err := n.Host(atSource).Count()
	c.must(err)
	c.must(c.site.Call(c.ctx, prod, nil, "reverse", groupName))
	c.backInSync(prod)
	b := &adminv1.FailbackResponse{}
	c.must(c.site.Call(c.ctx, prod, b, "failback", groupName))
	c.writable(redoubt.Epoch(b.Epoch))
	after, err := n.Host(atSource).Count()
	c.must(err)
	_, g, err := c.site.Status(c.ctx, c.site.Source)
	c.must(err)
	c.judge(g.Disks, redoubt.Position{Epoch: e, LSN: c.model.Head(e)})

	bytes, frames := after.Received-before.Received, after.FramesReceived-before.FramesReceived
	bare := bytes - perFrame*frames
	verdict(t, "%d bytes differ, the kernel counted %d in %d frames (%.4f x), %d of them data (%.4f x); %d went the other way", differs,
		bytes, frames, float64(bytes)/float64(differs), bare, float64(bare)/float64(differs), after.Sent-before.Sent)
	if mtu < 9000 {
		bytes = bare
	}
	if limit := differs + differs/20; bytes > limit {
		t.Errorf("%d bytes went over the wire, %d differ: more than 1.05 x", bytes, differs)
	}
}

func seedKey(seed uint64) (key [32]byte) {
	binary.LittleEndian.PutUint64(key[:], seed)
	return key
}

// changeSet is a kind of load: writes that do not compress.
type changeSet struct {
	rng        *rand.ChaCha8
	random     bool
	size, most uint64 // of the disk, of what is written
}

// fill writes the whole disk.
func (x *changeSet) fill(c *cycle) {
	c.Helper()
	all := changeSet{rng: x.rng, size: x.size + 256<<10, most: x.size}
	all.apply(c, c.relay)
}

// apply writes, at random or in a row from a random place, half of it twice.
func (x *changeSet) apply(c *cycle, relay *oracle.Relay) {
	c.Helper()
	k, err := oracle.Dial(c.ctx, relay.Socket("a"), "a")
	c.must(err)
	defer k.Close()
	n := uint64(4 << 10)
	if !x.random {
		n = 256 << 10
	}
	buf := make([]byte, n)
	blocks := x.size / n
	at := x.rng.Uint64() % (blocks - x.most/n)
	for i := range x.most / n {
		if x.random {
			at = x.rng.Uint64() % blocks
		}
		for range 1 + i%2 {
			x.rng.Read(buf)
			c.must(k.Write(buf, at*n, false))
		}
		at++
	}
}
