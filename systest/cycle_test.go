package systest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
	"github.com/redoubt-dr/redoubt/systest/lan"
)

// cycle is a bed whose hosts are on a network of their own, and which goes from
// one site to the other and back, again and again.
type cycle struct {
	*bed
	net   *lan.LAN
	epoch redoubt.Epoch // of the source's writes
	lives int           // of relays
	pace  time.Duration // between the changes of a load, after the first thousand
}

// atSource is the source in the network; target i is host i+1.
const atSource = 0

func newCycle(t *testing.T, o site.Options) *cycle {
	t.Helper()
	return &cycle{net: newLAN(t, &o, 1500, 0), bed: newBedOf(t, o), epoch: 1, pace: time.Millisecond}
}

// bedRounds is after how many rounds a new site is built: the model replays all
// of a site's past.
const bedRounds = 10

// inCycles runs n rounds, on as many sites as that takes.
func inCycles(t *testing.T, n int, round func(c *cycle, i int)) {
	for from := 0; from < n && !t.Failed(); from += bedRounds {
		t.Run(fmt.Sprintf("from round %d", from+1), func(t *testing.T) {
			c := newCycle(t, site.Options{})
			for i := from; i < min(n, from+bedRounds); i++ {
				round(c, i)
			}
		})
	}
}

// newLAN gives each node of a site a network namespace, and further targets.
func newLAN(t *testing.T, o *site.Options, mtu, further int) *lan.LAN {
	t.Helper()
	if err := lan.Can(); err != nil {
		t.Skipf("no network namespaces here: %v (it needs root, ip and /dev/net/tun)", err)
	}
	if o.Targets == 0 {
		o.Targets = 3
	}
	n, err := lan.New(o.Targets+1+further, mtu)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range o.Targets + 1 + further {
		o.Hosts = append(o.Hosts, site.Host{Addr: n.Host(i).Addr, In: n.Host(i).In()})
	}
	return n
}

// fromSource and toSource say how frames get from the source to all targets, and back.
func (c *cycle) fromSource(w lan.Way) {
	for i := range c.site.Targets {
		c.net.Set(atSource, i+1, w)
	}
}

func (c *cycle) toSource(w lan.Way) {
	for i := range c.site.Targets {
		c.net.Set(i+1, atSource, w)
	}
}

// head is the last position that the model knows of the source's epoch.
func (c *cycle) head() redoubt.Position {
	return redoubt.Position{Epoch: c.epoch, LSN: c.model.Head(c.epoch)}
}

// load is changes that are made in the background.
type load struct {
	cancel context.CancelFunc
	done   chan error
}

// write makes changes through a relay until the load is stopped or one fails.
func (c *cycle) write(relay *oracle.Relay) *load {
	c.Helper()
	ctx, cancel := context.WithCancel(c.ctx)
	cs := map[redoubt.DiskID]*oracle.Client{}
	for _, d := range c.disks {
		k, err := oracle.Dial(ctx, relay.Socket(d.Name), d.Name)
		c.must(err)
		cs[d.ID] = k
	}
	l := &load{cancel, make(chan error, 1)}
	go func() {
		var err error
		for n := 0; ctx.Err() == nil && err == nil; n++ {
			op := c.work.Next()
			err = op.Do(cs[op.Disk.ID])
			if n > 1000 { // a load that lasts shall not drown the model
				time.Sleep(c.pace)
			}
		}
		for _, k := range cs {
			k.Close()
		}
		l.done <- err
	}()
	return l
}

// stop ends the load and returns what it failed with, if it did.
func (l *load) stop() error {
	l.cancel()
	return <-l.done
}

// refused holds that a load ends by itself, with an error and not with silence.
func (c *cycle) refused(l *load) {
	c.Helper()
	select {
	case err := <-l.done:
		if !errors.Is(err, syscall.EPERM) {
			c.Fatalf("a client that wrote to the old source was told %v, want EPERM", err)
		}
	case <-time.After(patience):
		l.cancel()
		c.Fatal("a client of the old source still writes")
	}
}

// grow waits until the source's epoch has n more changes.
func (c *cycle) grow(n int) {
	c.Helper()
	to := c.head().LSN + redoubt.LSN(n)
	c.until(func() bool { return c.head().LSN >= to || c.relay.Err() != nil })
}

// attach puts a new recording relay before exported disks.
func (c *cycle) attach(e redoubt.Epoch, exported []*adminv1.Disk) *oracle.Relay {
	c.Helper()
	c.lives++
	var ups []oracle.Upstream
	for _, d := range c.disks {
		x := disk(c.T, exported, d.Name)
		ups = append(ups, oracle.Upstream{Disk: d, Socket: x.Socket, Export: x.Export})
	}
	r, err := oracle.NewRelay(c.model, e, fmt.Sprintf("%s/r%d", c.dir, c.lives), ups)
	c.must(err)
	c.Cleanup(func() { r.Close() })
	return r
}

// settle waits until the source is the writer of epoch e and holds the model's
// state at p, from which the epoch goes on.
func (c *cycle) settle(e redoubt.Epoch, p redoubt.Position) {
	c.Helper()
	c.writable(e)
	_, g, err := c.site.Status(c.ctx, c.site.Source)
	c.must(err)
	c.judge(g.Disks, p)
	c.must(c.model.Fork(e, p))
	c.must(c.relay.Close())
	c.epoch, c.relay = e, c.attach(e, g.Disks)
}

// anchorAt holds a writer's head against the model. Without loose every record
// must be a change.
func (c *cycle) anchorAt(n *site.Node, relay *oracle.Relay, loose bool) {
	c.Helper()
	drift, err := relay.Anchor(func() (redoubt.LSN, error) {
		_, g, err := c.site.Status(c.ctx, n)
		return redoubt.LSN(g.GetHead().GetLsn()), err
	})
	c.must(err)
	if drift < 0 || drift > 0 && !loose {
		c.Fatalf("the head at %s is %+d LSNs from what was answered", n.Name, drift)
	}
}

// backInSync waits until the old primary has all that differed.
func (c *cycle) backInSync(prod *site.Node) *adminv1.Group {
	c.Helper()
	g, err := c.site.Wait(c.ctx, prod, 2*time.Minute, "the old primary in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReverse().GetInSync() {
			return fmt.Errorf("%v", g.GetReverse())
		}
		return nil
	})
	c.must(err)
	return g
}
