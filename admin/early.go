package admin

import (
	"log/slog"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/descriptorpb"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// refuseEarly refuses a call by what its head says, before the body is read:
// whoever may not call costs no memory. Calls are checked again when they are
// read (guarded), so that nothing depends on the path alone.
func refuseEarly(next http.Handler, authorise AuthoriseFunc, logger *slog.Logger) http.Handler {
	readOnly := procedures()
	refusals := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, ok := PeerFrom(r.Context())
		ro, known := readOnly[r.URL.Path]
		if !ok || !known || !refusals.IsSupported(r) {
			next.ServeHTTP(w, r)
			return
		}
		err := authorise(peer, r.URL.Path, ro)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		logCall(r.Context(), logger, r.URL.Path, peer, ro, 0, err)
		_ = refusals.Write(w, r, ToConnect(r.URL.Path, err)) // the caller may be gone
	})
}

// procedures returns all of the schema, and whether they are read-only.
func procedures() map[string]bool {
	out := map[string]bool{}
	s := adminv1.File_admin_v1_admin_proto.Services().ByName("AdminService")
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		o, _ := m.Options().(*descriptorpb.MethodOptions)
		out["/"+string(s.FullName())+"/"+string(m.Name())] = o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	}
	return out
}
