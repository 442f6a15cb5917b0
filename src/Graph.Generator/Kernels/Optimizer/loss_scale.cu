// Before the micro-batches of a step: what multiplies dlogits is loss_weight, which the host brings, times loss_scale, which the step before left here.
// Launch: one warp, whose first thread works.
extern "C" __global__ void __launch_bounds__(WARP_SIZE)
scale_gradients(Scalars* __restrict__ scalars, int rows)
{
    if (threadIdx.x == 0) scalars->inv_labels = scalars->loss_weight * scalars->loss_scale;
}
