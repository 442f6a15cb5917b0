// What attention's kernels on wgmma share: barriers of stages, copies, products, and how sums leave. Two or three warpgroups multiply, the last one copies.

// ---- barriers -------------------------------------------------------------------------------------------------------------

// Barriers of COUNT stages, kind after kind; `arrivals` end a phase of each kind.
template <int COUNT, class... Arrivals>
__device__ __forceinline__ void init_stages(uint32_t barriers, Arrivals... arrivals)
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
    {
        uint32_t barrier = barriers + i * 8;
        ((barrier_init(barrier, arrivals), barrier += COUNT * 8), ...);
    }
}

// The warp arrives once.
__device__ __forceinline__ void warp_arrive(uint32_t barrier)
{
    if (threadIdx.x % WARP_SIZE == 0) barrier_arrive(barrier);
}

// Arrives when all copies that this thread has started are done; the thread goes on.
__device__ __forceinline__ void barrier_arrive_after_copies(uint32_t barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" :: "r"(barrier) : "memory");
}

// Like barrier_wait, before wgmma reads what cp.async wrote and who copied has not fenced (copy_rounds does).
__device__ __forceinline__ void barrier_wait_copies(uint32_t barrier, uint32_t parity)
{
    barrier_wait(barrier, parity);
    shared_fence();
}

// __syncthreads for two warpgroups; id from 1.
__device__ __forceinline__ void groups_sync(int id) { asm volatile("bar.sync %0, 256;" :: "r"(id) : "memory"); }

// ---- copies and tiles -----------------------------------------------------------------------------------------------------

// One float from global to shared memory, asynchronously like copy16.
__device__ __forceinline__ void copy4(uint32_t shared, const float* global)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(shared), "l"(__cvta_generic_to_global(global)) : "memory");
}

// Bytes in a row, a multiple of 16: to shared memory, counted by a barrier, and from it.
__device__ __forceinline__ void copy_bulk(uint32_t target, const elem* source, uint32_t bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" :: "r"(target), "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(barrier) : "memory");
}

__device__ __forceinline__ void store_bulk(elem* target, uint32_t source, uint32_t bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" :: "l"(__cvta_generic_to_global(target)), "r"(source), "r"(bytes) : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

__device__ __forceinline__ float2 load_shared2(uint32_t address)
{
    float2 x;
    asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(address) : "memory");
    return x;
}

__device__ __forceinline__ void store_shared4(uint32_t address, uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" :: "r"(address), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}

// How THREADS threads walk a ROWS x ROW tile in pieces of 16 bytes: a pass covers HEIGHT rows, a multiple of 8, so a thread's place in the swizzle stays.
template <int ROWS, int ROW, int THREADS>
struct panel_walk
{
    static constexpr int CHUNKS = ROW / 8, WIDTH = CHUNKS < THREADS / 8 ? CHUNKS : THREADS / 8, HEIGHT = THREADS / WIDTH;
    static_assert(WIDTH % 8 == 0 && CHUNKS % WIDTH == 0 && HEIGHT % 8 == 0 && ROWS % HEIGHT == 0, "passes of whole rows");
    int row, chunk;

    __device__ __forceinline__ explicit panel_walk(int thread) : row(thread / WIDTH), chunk(thread % WIDTH) {}
    __device__ __forceinline__ uint32_t offset(int pass, int part) const { return panel_offset<ROWS>(row, chunk) + pass * HEIGHT * 128 + part * (WIDTH / 8) * (ROWS * 128); }
};

// Starts the copy of a ROWS x ROW tile by THREADS threads, of which this is number thread; rows from valid_rows on become zeros.
template <int ROWS, int ROW, int THREADS>
__device__ __forceinline__ void copy_panels(uint32_t tile, const elem* source, int pitch, int valid_rows, int thread = threadIdx.x)
{
    using walk = panel_walk<ROWS, ROW, THREADS>;
    const walk at(thread);
    source += (int64)at.row * pitch + at.chunk * 8;
#pragma unroll
    for (int pass = 0; pass < ROWS / walk::HEIGHT; pass++, source += (int64)walk::HEIGHT * pitch)
#pragma unroll
        for (int part = 0; part < walk::CHUNKS / walk::WIDTH; part++)
            copy16(tile + at.offset(pass, part), source + part * walk::WIDTH * 8, at.row + pass * walk::HEIGHT < valid_rows);
}

// Writes the first valid_rows of COUNT rows of a tile to global memory.
template <int ROWS, int ROW, int THREADS, int COUNT = ROWS>
__device__ __forceinline__ void store_panels(elem* target, int pitch, uint32_t tile, int valid_rows, int thread = threadIdx.x)
{
    using walk = panel_walk<ROWS, ROW, THREADS>;
    const walk at(thread);
    target += (int64)at.row * pitch + at.chunk * 8;
#pragma unroll
    for (int pass = 0; pass < COUNT / walk::HEIGHT; pass++, target += (int64)walk::HEIGHT * pitch)
        if (at.row + pass * walk::HEIGHT < valid_rows)
#pragma unroll
            for (int part = 0; part < walk::CHUNKS / walk::WIDTH; part++)
                *reinterpret_cast<uint4*>(target + part * walk::WIDTH * 8) = load_shared4(tile + at.offset(pass, part));
}

// Puts 64 rows x COLUMNS of accumulators, times the scale of each of a thread's two rows, into a tile; row: the thread's first.
template <int ROWS, int COLUMNS>
__device__ __forceinline__ void stage_panels(uint32_t tile, int row, const float (&d)[COLUMNS / 2], float scale_0 = 1.0f, float scale_8 = 1.0f)
{
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
        {
            const float scale = half ? scale_8 : scale_0;
            asm volatile("st.shared.u32 [%0], %1;" :: "r"(tile + panel_offset<ROWS>(row + half * 8, n) + lane % 4 * 4),
                         "r"(pack2(d[n * 4 + half * 2] * scale, d[n * 4 + half * 2 + 1] * scale)) : "memory");
        }
}

// A copying thread's part of the rounds of one kind of tile, in DEPTH stages: copy(round, stage) starts the copies. Copies that the thread has started before belong to round 0. wgmma reads shared memory
// behind the back of ordinary writes, so who copies makes them visible before it announces them, and no group that multiplies waits for a fence. `full` counts the copying threads.
template <int DEPTH, class Copy>
__device__ __forceinline__ void copy_rounds(int rounds, uint32_t full, uint32_t empty, Copy copy)
{
    auto announce = [&](int stage)
    {
        shared_fence();
        barrier_arrive(full + stage * 8);
    };
    // All stages are on their way before the first is waited for; a stage without a round is an empty group, or the count of groups in flight would be wrong.
#pragma unroll
    for (int stage = 0; stage < DEPTH; stage++)
    {
        if (stage < rounds) copy(stage, stage);
        copy_commit();
    }
    copy_wait<DEPTH - 1>();
    announce(0);
#pragma unroll 1
    for (int round = 1, stage = 1 % DEPTH; round < rounds; round++)
    {
        // From here on one copy is in flight at a time.
        if (round >= DEPTH)
        {
            barrier_wait(empty + stage * 8, (round / DEPTH - 1) % 2);
            copy(round, stage);
            copy_commit();
        }
        copy_wait<0>();
        announce(stage);
        stage = stage + 1 == DEPTH ? 0 : stage + 1;
    }
}

// ---- products -------------------------------------------------------------------------------------------------------------

// d = a b^T (+ d), 64 x n x 16, n twice the number of sums a thread holds: both operands have k along their columns.
__device__ __forceinline__ void wgmma_columns(float (&d)[32], uint64 a, uint64 b, int add)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, 0;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
                 : "l"(a), "l"(b), "r"(add));
}

__device__ __forceinline__ void wgmma_columns(float (&d)[40], uint64 a, uint64 b, int add)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %42, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39}, %40, %41, p, 1, 1, 0, 0;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
                 : "l"(a), "l"(b), "r"(add));
}

__device__ __forceinline__ void wgmma_columns(float (&d)[32], const uint32_t (&a)[4], uint64 b, int add)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, p, 1, 1, 0;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

// d += a b, 64 x n x 16: a in registers, b has k along its rows.
__device__ __forceinline__ void wgmma_rows(float (&d)[32], const uint32_t (&a)[4], uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, p, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

__device__ __forceinline__ void wgmma_rows(float (&d)[64], const uint32_t (&a)[4], uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, {%64,%65,%66,%67}, %68, p, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

__device__ __forceinline__ void wgmma_rows(float (&d)[128], const uint32_t (&a)[4], uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %133, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
                 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, {%128,%129,%130,%131}, %132, p, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
                   "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
                   "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
                   "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
                   "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

// The same with a, too, from shared memory and k along its rows.
__device__ __forceinline__ void wgmma_rows(float (&d)[32], uint64 a, uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
                 : "l"(a), "l"(b), "r"(1));
}

__device__ __forceinline__ void wgmma_rows(float (&d)[64], uint64 a, uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, p, 1, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
                 : "l"(a), "l"(b), "r"(1));
}

__device__ __forceinline__ void wgmma_rows(float (&d)[128], uint64 a, uint64 b)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
                 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1, 1, 1;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
                   "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
                   "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
                   "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
                   "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
                 : "l"(a), "l"(b), "r"(1));
}

// Starts d = a b^T, 64 x n x D, of two panel tiles, as a group that wgmma_wait awaits.
template <int D, int A_ROWS, int B_ROWS, int COUNT>
__device__ __forceinline__ void wgmma_scores(float (&d)[COUNT], uint32_t a_tile, uint32_t b_tile)
{
#pragma unroll
    for (int step = 0; step < D / 16; step++) wgmma_columns(d, panel_columns<A_ROWS>(a_tile, step), panel_columns<B_ROWS>(b_tile, step), step > 0);
    wgmma_commit();
}

// The same, 64 x 64 x D. A product this narrow reads shared memory as fast as it can be read, so the first STEPS 16 columns of a, which the caller keeps, come from registers.
template <int D, int A_ROWS, int B_ROWS, int STEPS>
__device__ __forceinline__ void wgmma_scores(float (&d)[32], const uint32_t (&own)[STEPS][4], uint32_t a_tile, uint32_t b_tile)
{
#pragma unroll
    for (int step = 0; step < D / 16; step++)
        if (step < STEPS) wgmma_columns(d, own[step % STEPS], panel_columns<B_ROWS>(b_tile, step), step > 0);
        else wgmma_columns(d, panel_columns<A_ROWS>(a_tile, step), panel_columns<B_ROWS>(b_tile, step), step > 0);
    wgmma_commit();
}

// Those columns of the warp's 16 rows of a, from `row` on.
template <int A_ROWS, int STEPS>
__device__ __forceinline__ void load_own(uint32_t (&own)[STEPS][4], uint32_t a_tile, int row)
{
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int step = 0; step < STEPS; step++) ldmatrix_x4(own[step], a_tile + panel_offset<A_ROWS>(row + lane % 16, step * 2 + lane / 16));
}

// Starts d += a b, 64 x n x 16 STEPS, as such a group: a in registers, b has k along its rows.
template <int B_ROWS, int STEPS, int COUNT>
__device__ __forceinline__ void wgmma_sums(float (&d)[COUNT], const uint32_t (&a)[STEPS][4], uint32_t b_tile)
{
#pragma unroll
    for (int step = 0; step < STEPS; step++) wgmma_rows(d, a[step], panel_rows<B_ROWS>(b_tile, step));
    wgmma_commit();
}

// dS = P dscore/ds (dP - delta) of two entries, the first factor rounded to elem.
__device__ __forceinline__ uint32_t score_gradient(uint32_t slopes, float dp_lo, float dp_hi, float delta_lo, float delta_hi)
{
    return pack2(unpack_lo(slopes) * (dp_lo - delta_lo), unpack_hi(slopes) * (dp_hi - delta_hi));
}

// A value that a generic lambda knows at compile time.
template <bool VALUE>
struct constant
{
    static constexpr bool value = VALUE;
};
