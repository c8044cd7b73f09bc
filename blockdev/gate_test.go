package blockdev

import (
	"testing"
	"testing/synctest"
)

func TestGateWaitsForOldReadsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		a, b := g.enter(), g.enter()
		passed := make(chan struct{})
		go func() { g.pass(); close(passed) }()
		synctest.Wait()
		young := g.enter() // began later: does not hold pass
		g.leave(a)
		synctest.Wait()
		select {
		case <-passed:
			t.Fatal("passed while a read that began before was under way")
		default:
		}
		g.leave(b)
		<-passed
		go g.leave(young)
		g.pass() // now young is an old one
	})
}
