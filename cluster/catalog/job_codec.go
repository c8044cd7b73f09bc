package catalog

import (
	"crypto/sha256"

	"github.com/redoubt-dr/redoubt"
)

// JobRef names a job.
type JobRef struct {
	Group redoubt.GroupID `json:"group"`
	ID    uint64          `json:"id"`
}

func (r JobRef) check() error {
	if r.ID == 0 {
		return invalid("name job of group", string(r.Group), "jobs count from 1")
	}
	return redoubt.ValidName("group", string(r.Group))
}

func (e *encoder) jobRef(r JobRef) { e.str(string(r.Group)); e.uvar(r.ID) }
func (d *decoder) jobRef() JobRef  { return JobRef{Group: d.groupID(), ID: d.uvar()} }

func (e *encoder) jobs(js *Jobs) {
	e.uvar(js.Next)
	e.uvar(uint64(js.Planned))
	e.uvar(uint64(len(js.List)))
	for i := range js.List {
		e.job(&js.List[i])
	}
}

func (d *decoder) jobs(id redoubt.GroupID) *Jobs {
	js := &Jobs{Next: d.uvar(), Planned: d.epoch()}
	for range d.count(MaxJobs, "number of jobs") {
		js.List = append(js.List, d.job(id))
	}
	return js
}

func (e *encoder) job(j *Job) {
	e.uvar(j.ID)
	for _, v := range [...]uint8{uint8(j.Kind), uint8(j.State), uint8(j.Outcome), uint8(j.Step)} {
		e.u8(v)
	}
	e.uvar(uint64(len(j.Steps)))
	for _, s := range j.Steps {
		e.u8(uint8(s.Step))
		e.i64(s.At)
		e.str(s.Note)
	}
	e.i64(j.Began)
	e.i64(j.Ended)
	for _, s := range [...]string{j.By, j.Error, j.Hint, string(j.Node)} {
		e.str(s)
	}
	e.bool(j.Fixed)
	e.bool(j.Hydrate)
	for _, v := range [...]uint64{j.Done, j.Total, j.Term, uint64(j.Epoch), uint64(j.Head)} {
		e.uvar(v)
	}
	e.i64(j.Limit)
	e.i64(j.Held)
	e.bytes(j.Sum)
	e.proof(j.Proof)
}

func (d *decoder) job(id redoubt.GroupID) Job {
	j := Job{Group: id, ID: d.uvar(), Kind: JobKind(d.u8()), State: JobState(d.u8()), Outcome: JobState(d.u8()), Step: JobStep(d.u8())}
	for range d.count(MaxJobSteps, "number of steps") {
		j.Steps = append(j.Steps, JobDone{Step: JobStep(d.u8()), At: d.i64(), Note: d.note("note")})
	}
	j.Began, j.Ended = d.i64(), d.i64()
	j.By, j.Error, j.Hint, j.Node = d.note("name"), d.note("error"), d.note("hint"), d.nodeID()
	j.Fixed, j.Hydrate = d.bool(), d.bool()
	j.Done, j.Total, j.Term, j.Epoch, j.Head = d.uvar(), d.uvar(), d.uvar(), d.epoch(), d.lsn()
	j.Limit, j.Held = d.i64(), d.i64()
	j.Sum, j.Proof = d.bytes(sha256.Size, "hash"), d.proof()
	return j
}

func (d *decoder) note(what string) string { return d.str(MaxNote, what) }

func (e *encoder) proof(p []ProofExtent) {
	e.uvar(uint64(len(p)))
	for _, x := range p {
		e.uvar(uint64(x.Disk))
		e.uvar(x.Extent.Off)
		e.uvar(x.Extent.Len)
	}
}

func (d *decoder) proof() []ProofExtent {
	var out []ProofExtent
	for range d.count(MaxProof, "number of extents") {
		out = append(out, ProofExtent{Disk: redoubt.DiskID(d.uvarMax(1<<16-1, "disk")), Extent: redoubt.Extent{Off: d.uvar(), Len: d.uvar()}})
	}
	return out
}

// effect is a command that is part of a job's command: both happen or neither.
// It is written as its kind, 0 for none, and its body.
func (e *encoder) effect(c Command) {
	if c == nil {
		e.u8(0)
		return
	}
	e.u8(uint8(c.kind()))
	c.encode(e)
}

func (d *decoder) effect() Command {
	k := kind(d.u8())
	if k == 0 || d.err != nil {
		return nil
	}
	if !k.isEffect() {
		d.bad("a command that is no part of a job")
		return nil
	}
	c, _ := decodeBody(k, d)
	return c
}

// isEffect: those commands that change who may write. While a job is under
// way, only the job may give them.
func (k kind) isEffect() bool {
	switch k {
	case kindPromote, kindCommitFailover, kindCancelFailover, kindReverseReplicate:
		return true
	}
	return false
}

// loadJobs is part of load.
func (s *state) loadJobs(d *decoder) {
	id := d.groupID()
	js := d.jobs(id)
	if _, twice := s.jobs[id]; twice || s.groups[id] == nil {
		d.bad("jobs of an unknown group")
		return
	}
	for i := range js.List {
		if js.List[i].ID == 0 || js.List[i].ID >= js.Next || i > 0 && js.List[i].ID <= js.List[i-1].ID {
			d.bad("bad job")
		}
	}
	s.jobs[id] = js
}
