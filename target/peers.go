package target

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// peers calls the other nodes and remembers which of them do not answer, so
// that a dead node costs one time-out and not one for every delta.
type peers struct {
	o       *Options
	catalog *catalog.Catalog
	mu      sync.Mutex
	down    map[redoubt.NodeID]time.Time // since when
	back    func()                       // called when a node answers again
}

func newPeers(o *Options, c *catalog.Catalog) *peers {
	return &peers{o: o, catalog: c, down: map[redoubt.NodeID]time.Time{}}
}

func (p *peers) up(n redoubt.NodeID) bool {
	if n == p.o.ID {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, down := p.down[n]
	return !down
}

// giveUp marks the node as down until it answers a probe.
func (p *peers) giveUp(n redoubt.NodeID, reason error) {
	if n == p.o.ID {
		return
	}
	p.mu.Lock()
	_, known := p.down[n]
	if !known {
		p.down[n] = p.o.Now()
	}
	p.mu.Unlock()
	if !known {
		p.o.Logger.Warn("node does not answer; going on without it", "node", n, "err", reason)
	}
}

// call calls the node; a node that cannot be reached is given up.
func (p *peers) call(ctx context.Context, n redoubt.NodeID, method string, body ...[]byte) ([]byte, error) {
	info, ok := p.catalog.Node(n)
	if !ok {
		return nil, &redoubt.Error{Op: "call node", Object: string(n), Err: redoubt.ErrNotFound}
	}
	b, err := p.o.Pool.Call(ctx, info.Addr, method, body...)
	if err != nil && ctx.Err() == nil && errors.Is(err, redoubt.ErrUnavailable) {
		p.giveUp(n, err)
	}
	return b, err
}

// probe calls the nodes that are down until they answer.
func (p *peers) probe(ctx context.Context) {
	t := time.NewTicker(p.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		p.mu.Lock()
		var down []redoubt.NodeID
		for n := range p.down {
			down = append(down, n)
		}
		p.mu.Unlock()
		var wg sync.WaitGroup
		for _, n := range down {
			wg.Add(1)
			go func() {
				defer wg.Done()
				c, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				info, ok := p.catalog.Node(n)
				if !ok {
					return
				}
				if _, err := p.o.Pool.Call(c, info.Addr, methodPing); err == nil {
					p.mu.Lock()
					since := p.down[n]
					delete(p.down, n)
					p.mu.Unlock()
					p.back()
					p.o.Logger.Info("node answers again", "node", n, "after", p.o.Now().Sub(since))
				}
			}()
		}
		wg.Wait()
	}
}

// callTimeout bounds a read from one node, so that a hung one is passed over.
const callTimeout = 3 * time.Second

func (p *peers) read(ctx context.Context, n redoubt.NodeID, method string, body []byte) ([]byte, error) {
	c, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := p.call(c, n, method, body)
	if err != nil && ctx.Err() == nil && c.Err() != nil {
		p.giveUp(n, err)
	}
	return b, err
}
