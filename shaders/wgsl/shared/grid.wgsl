// The linear index of a workgroup. A dimension of a grid stops at 65,535 workgroups, so large grids spread over x and y;
// the last row of such a grid may hold workgroups past the end, which leave at once.

fn group_index(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return id.x + id.y * groups.x;
}
