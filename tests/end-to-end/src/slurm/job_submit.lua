-- A cluster without accounting knows no accounts; this one refuses one as a site's would.
function slurm_job_submit(description, partitions, user)
    if description.account == "closed" then
        return slurm.ESLURM_INVALID_ACCOUNT
    end
    return slurm.SUCCESS
end

function slurm_job_modify(description, job, partitions, user)
    return slurm.SUCCESS
end

return slurm.SUCCESS
